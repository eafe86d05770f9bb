"""Ids after a restore."""

from hypothesis import given
from hypothesis import strategies as st

from sensorflow.storage.ids import MARGIN, STRIDE, first_after_restore


@given(st.integers(0, 2**52))
def test_enough_ids_are_left_out_and_no_more_than_needed(highest: int) -> None:
    first = first_after_restore(highest)
    assert first % STRIDE == 1
    assert highest + MARGIN < first <= highest + MARGIN + STRIDE
