"""The page on data says what the code does."""

from typing import get_args

from test_docs import DOCS, rows, sections

from i2i.data.geometry import Geometry, Preprocess
from i2i.images import formats


def test_the_table_of_formats_is_that_of_the_code():
    text = sections(DOCS / "data.md")["What is read, and what is refused"]
    assert list(rows(text)) == formats.rows()


def test_the_table_of_policies_is_that_of_the_code():
    trained_on = {
        row["policy"].strip("`"): row["what is trained on"] for row in rows(sections(DOCS / "data.md")["Sizes"])
    }
    assert tuple(trained_on) == get_args(Preprocess)
    for policy, told in trained_on.items():
        window = Geometry(policy, (286, 286), (256, 256)).window
        assert told == ("all of it" if window is None else "a random window of `crop_size`")
