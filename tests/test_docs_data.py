"""The page on data says what the code does."""

from test_docs import DOCS, rows, sections

from i2i.images import formats


def test_the_table_of_formats_is_that_of_the_code():
    text = sections(DOCS / "data.md")["What is read, and what is refused"]
    assert list(rows(text)) == formats.rows()
