"""Our frame writer, read back by an independent parser at every length class."""

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from sensorflow.live.frames import text_frame

LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


def parse(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://localhost/"))
    client.state = OPEN
    client.parser = client.parse()
    next(client.parser)
    client.receive_data(data)
    assert client.parser_exc is None
    return [event for event in client.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_frame_is_read_back_whole(length: int) -> None:
    payload = b"x" * length
    (frame,) = parse(text_frame(payload))
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, payload)


def test_joined_frames_are_read_back_one_by_one() -> None:
    payloads = [b"y" * length for length in LENGTHS]
    frames = parse(b"".join(map(text_frame, payloads)))
    assert [bytes(frame.data) for frame in frames] == payloads
