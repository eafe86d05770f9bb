"""WebSocket frames, RFC 6455 section 5.2.

A server's frames are not masked, so without compression the bytes are the same for everybody:
one encoded frame serves every subscriber.
"""


def text_frame(payload: bytes) -> bytes:
    """One whole, final text frame."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
