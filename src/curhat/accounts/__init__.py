"""Customers and mitras: phone numbers, one-time codes, tokens, names, invitation and suspension.

Guarantees:
    When a client requests a code, the server reads only the codes that it sent to the phone number in the request. So
    the server's answer and response time do not reveal whether the number is known, unknown, invited or suspended.
    A code goes to a phone of the accepted countries only, and PostgreSQL counts the codes per day and country. When the
    day's ceiling of a country is reached, no number of that country gets a code. The last fifth of a ceiling is
    reserved for known devices.
    A code has six digits, and is valid only together with the id of its request. A code is valid for 5 minutes, for 5
    tries, and for one use. The database stores an HMAC of the code, but not the key of the HMAC. Wrong tries of one
    code never block tries of another code.
    PostgreSQL counts the unused codes of each requester per phone number (decision 0072). A requester is a network
    address, or a device that has signed in as the number's owner. Strangers never delay a known device. The limits per
    requester are the same in every environment. Requesting another code resets no count. Valkey counts strangers'
    requests per network address. While Valkey is away, the server enforces no limit per network address.
    Each sign-in makes a new token of 256 random bits, and makes the device a known device. A token is valid for 30
    days, and ends after 14 days without use. The database stores only SHA-256 digests of tokens and device secrets. A
    sign-out or a suspension takes effect in every process within 3 s, even if every signal is lost. Lifting a
    suspension revokes the mitra's tokens.
Concurrency:
    A transaction that counts the codes of a phone number first takes the number's advisory lock, in a statement of its
    own. The next statement therefore sees everything that the lock's previous holder committed.
Relies on:
    The code sender port (code_sender.py) and its adapters. The endpoints call the code sender port between
    transactions.
    The signal channel `sockets`. The payload on the channel `sockets` is `SocketsToClose`.
"""
