"""The time limits of presence."""

# 1.1: a mitra may be asked while its last frame is at most this old. This is four heartbeats of 3 s.
MAY_BE_ASKED_SECONDS = 12
# 1.1: a mitra whom push reaches may be asked for this long after the server last saw the mitra's app.
PUSH_REACHABLE_SECONDS = 15 * 60
# 5.6: a mitra is connected while its last frame is at most this old. This is two heartbeats of 3 s.
MITRA_CONNECTED_SECONDS = 6
# 5.6: after its socket closed, a mitra has this much time to reconnect before the server treats it as disconnected.
COME_BACK_SECONDS = 3
