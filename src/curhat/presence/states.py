"""The time limits of presence."""

# 1.1: a mitra can be asked while its last frame is at most MAY_BE_ASKED_SECONDS old: four heartbeats of 3 s.
MAY_BE_ASKED_SECONDS = 12
# 1.1: a mitra whom push reaches can be asked for PUSH_REACHABLE_SECONDS after the server last saw the mitra's app.
PUSH_REACHABLE_SECONDS = 15 * 60
# 5.6: a mitra is connected while its last frame is at most MITRA_CONNECTED_SECONDS old: two heartbeats of 3 s.
MITRA_CONNECTED_SECONDS = 6
# 5.8: at an extension's deadline, a mitra is connected only if its last frame is at most MITRA_HEARD_SECONDS old. While
# an extension is pending, its mitra is pinged every second (sessions/extension_pings.py). If the worker decides more
# than MITRA_HEARD_SECONDS after the deadline, silence approves nothing.
MITRA_HEARD_SECONDS = 2.5
# A mitra sends a frame at least this often, because the server pings it (realtime/hub.py).
HEARTBEAT_SECONDS = 3
# 5.6: after its socket closed, a mitra has COME_BACK_SECONDS to reconnect before the server treats the mitra as
# disconnected.
COME_BACK_SECONDS = 3
# If a customer sends no frame for CUSTOMER_CONNECTED_SECONDS, the customer gets pushes. CUSTOMER_CONNECTED_SECONDS is
# two pings of 15 s, plus 5 s for a slow network.
CUSTOMER_CONNECTED_SECONDS = 35
