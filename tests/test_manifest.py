"""Manifests: what is read from which column, in CSV of any kind and Parquet, and what is said of wrong ones."""

import sys
import tracemalloc
import warnings
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from i2i.data import DataOptions, open_data
from i2i.errors import I2IError
from i2i_plugins.manifest import Manifest

PAIRS = "a,b\nx 1.png,y/1.png\nx 2.png,y/2.png\n"
SINGLE = "path,domain\n1.png,a\n2.png,b\n3.png,a\n"


def names(images):
    return [images.name(i) for i in range(len(images))]


@pytest.fixture
def folder(tmp_path):
    """`write(text)` makes a CSV, and a PNG for each name in it that ends so; `problems(**options)` are those of it."""

    class Folder:
        path = tmp_path / "list.csv"

        def images(self, *names):
            for name in names:
                place = tmp_path / name
                place.parent.mkdir(parents=True, exist_ok=True)
                digits = int("".join(c for c in place.stem if c.isdigit()) or 0)
                Image.new("RGB", (8, 8), (digits, digits, digits)).save(place)
            return self

        def write(self, text, encoding="utf-8"):
            self.path.write_bytes(text.encode(encoding))
            cells = (cell.strip(' "') for line in text.splitlines() for cell in line.replace(";", ",").split(","))
            return self.images(*(cell for cell in cells if cell.endswith(".png")))

        def source(self, **options):
            return Manifest(path=str(self.path), **options)

        def problems(self, **options):
            with pytest.raises(I2IError) as error:
                self.source(**options)
            for problem in error.value.problems:
                assert problem.where == str(self.path) or problem.where.startswith("data.source."), problem
            return [problem.message for problem in error.value.problems]

    return Folder()


def test_pairs(folder, tmp_path):
    split = folder.write(PAIRS).source().train()
    assert split.paired and names(split.a) == ["x 1.png", "x 2.png"] and names(split.b) == ["1.png", "2.png"]
    assert split.b.folder == tmp_path / "y" and [split.b.read(i).pixels.max() for i in (0, 1)] == [1, 2]
    assert split.extras == {} and folder.source().test() is None


def test_single_images(folder):
    split = folder.write(SINGLE).source().train()
    assert not split.paired and names(split.a) == ["1.png", "3.png"] and names(split.b) == ["2.png"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_kinds_of_csv(folder, separator, encoding, end):
    rows = [("path", "domain", "note"), ("é 1.png", "a", '"two, or; three"'), ("2.png", "b", "")]
    text = end.join(map(separator.join, [*rows, ("", "", "")]))
    folder.images("é 1.png", "2.png").path.write_bytes(text.encode(encoding))
    split = folder.source().train()
    assert names(split.a) == ["é 1.png"] and names(split.b) == ["2.png"]


def test_columns_and_domains_with_other_names(folder):
    folder.write("file,style,fold\n1.png,horse,train\n2.png,zebra,train\n3.png,horse,val\n4.png,zebra,val\n")
    columns = {"path": "file", "domain": "style", "split": "fold"}
    source = folder.source(columns=columns, domains=("zebra", "horse"))
    assert names(source.train().a) == ["2.png"] and names(source.test().b) == ["3.png"]
    folder.write("from,to\n1.png,2.png\n")
    assert folder.source(columns={"a": "to", "b": "from"}).train().a.name(0) == "2.png"


def test_sets(folder):
    folder.write("a,b,split\n1.png,2.png,train\n3.png,4.png,test\n5.png,6.png,val\n")
    with pytest.warns(UserWarning, match="images for test are held out, those for val not used; `held_out`"):
        assert names(folder.source().test().a) == ["3.png"]
    with warnings.catch_warnings(action="error"):
        assert names(folder.source(held_out="val").test().b) == ["6.png"]
        assert names(folder.source(held_out="test").train().b) == ["2.png"]
    folder.write("a,b,split\n1.png,2.png,train\n5.png,6.png,val\n")
    assert names(folder.source().test().a) == ["5.png"]
    assert folder.problems(held_out="test") == ["list.csv lists no image for 'test'"]


def test_masks_and_labels_of_pairs(folder):
    folder.write("a,b,mask_b,label_a,label_b\n1.png,2.png,m/9.png,10,3\n3.png,4.png,m/8.png,2.0,4\n")
    split = folder.source().train()
    assert split.extras.keys() == {"mask_b", "label_a", "label_b"}
    assert split.extras["label_a"] == [10, 2] and split.extras["label_b"] == [3, 4]
    assert names(split.extras["mask_b"]) == ["9.png", "8.png"]
    options = DataOptions(load_size=8, crop_size=8, batch_size=2, n_workers=0)
    (batch,) = open_data(options, folder.source(), paired=True, needs={"label_a"}, seed=0).batches(0)
    grey = ((batch.a[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert dict(zip(grey, batch.extras["label_a"].tolist(), strict=True)) == {1: 10, 3: 2}
    assert batch.extras["mask_b"].mul(255).round().amax((1, 2, 3)).tolist() == [{1: 9, 3: 8}[g] for g in grey]


def test_labels_of_one_domain(folder):
    rows = ["path,domain,label,split", "1.png,a,dog,train", "2.png,b,,train", "3.png,a,ant,train", "4.png,a,cow,train"]
    folder.write("\n".join([*rows, "5.png,a,cow,test", "6.png,b,ant,test"]))
    source = folder.source()
    assert source.train().extras == {"label_a": [2, 0, 1]}
    assert source.test().extras == {"label_a": [1], "label_b": [0]}
    folder.write("\n".join([*rows, "5.png,a,cows,test", "6.png,b,ant,test"]))
    (message,) = folder.problems()
    assert message.startswith("no image in train has the label 'cows' in line 6 of the column 'label'; did you mean")


def test_parquet_says_the_same(folder, tmp_path):
    text = "path,domain,split,label\n1.png,a,train,3\n2.png,b,train,\n3.png,a,test,4\n4.png,b,test,\n"
    expected = folder.write(text).source()
    table = {
        "path": ["1.png", "2.png", "3.png", "4.png"],
        "domain": pyarrow.array(["a", "b", "a", "b"]).dictionary_encode(),
        "split": ["train", "train", "test", "test"],
        "label": [3.0, float("nan"), 4.0, None],
        "caption": [["not", "read"]] * 4,
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "list.parquet")
    found = Manifest(path=str(tmp_path / "list.parquet"))
    for one, other in ((expected.train(), found.train()), (expected.test(), found.test())):
        assert names(one.a) == names(other.a) and names(one.b) == names(other.b) and one.extras == other.extras
        assert one.extras.keys() == {"label_a"}
    lost = pyarrow.table({**table, "path": ["1.png", "no.png", "3.png", "4.png"]})
    parquet.write_table(lost, tmp_path / "list.parquet")
    with pytest.raises(I2IError, match=r"1 of 4 files of the column 'path' are not there.*: no.png \(row 2\)$"):
        Manifest(path=str(tmp_path / "list.parquet"))
    inside = pyarrow.table({"path": [{"bytes": b"", "path": "1.png"}], "domain": ["a"]})
    parquet.write_table(inside, tmp_path / "inside.parquet")
    with pytest.raises(I2IError, match="the column 'path' holds struct<.*>; it must hold text or numbers"):
        Manifest(path=str(tmp_path / "inside.parquet"))
    (tmp_path / "half.parquet").write_bytes((tmp_path / "list.parquet").read_bytes()[:-30])
    with pytest.raises(I2IError, match="half.parquet: is damaged:"):
        Manifest(path=str(tmp_path / "half.parquet"))


def test_kinds_of_text_in_parquet(folder, tmp_path):
    folder.images("1.png", "2.png", "3.png")
    for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        texts = {name: pyarrow.array([name + ".png"] * 2, kind) for name in "12"}
        table = {"a": texts["1"], "b": pyarrow.array(["2.png", " 3.png"], kind), "label_a": pyarrow.nulls(2)}
        parquet.write_table(pyarrow.table(table), tmp_path / "list.parquet")
        split = Manifest(path=str(tmp_path / "list.parquet")).train()
        assert names(split.a) == ["1.png", "1.png"] and names(split.b) == ["2.png", "3.png"] and not split.extras


def test_a_long_text_in_many_rows_of_parquet_is_held_once(tmp_path):
    same = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10**4), ["x" * 10**6])
    parquet.write_table(pyarrow.table({"a": same, "b": same}), tmp_path / "list.parquet")
    assert (tmp_path / "list.parquet").stat().st_size < 10**6
    tracemalloc.start()
    with pytest.raises(I2IError, match="10000 of 10000 files of the column 'a' are not there"):
        Manifest(path=str(tmp_path / "list.parquet"))
    held = tracemalloc.get_traced_memory()[1] + pyarrow.default_memory_pool().max_memory()
    tracemalloc.stop()
    assert held < 10**8  # of 2 * 10**10 characters


def test_parquet_without_pyarrow(folder, tmp_path, monkeypatch):
    parquet.write_table(pyarrow.table({"a": ["1.png"], "b": ["2.png"]}), tmp_path / "list.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(I2IError, match=r"which is missing: pip install pyarrow"):
        Manifest(path=str(tmp_path / "list.parquet"))
    assert len(folder.write(PAIRS).source().train().a) == 2


def test_paths(folder, tmp_path):
    composed, decomposed = "Z\u00e9bre.png", "Ze\u0301bre.png"
    elsewhere = tmp_path.parent / f"{tmp_path.name} elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (8, 8)).save(elsewhere / decomposed)
    folder.images("in/2.png")
    folder.path.write_text(f"a,b\n{elsewhere / decomposed},in\\2.png\n", encoding="utf-8")
    split = folder.source().train()
    assert split.a.read(0).size == (8, 8) and names(split.b) == ["2.png"]
    folder.path.write_text(f"a,b\n../{elsewhere.name}/{composed},./in/../in/2.png\n", encoding="utf-8")
    assert names(folder.source().train().a) == [decomposed]


def test_names_are_paths_from_the_folder_that_holds_all(folder):
    split = folder.write("a,b\ndata/x/1.png,2.png\ndata/y/1.png,3.png\n").source().train()
    assert names(split.a) == ["x/1.png", "y/1.png"]


WRONG = [
    ("", "has no columns 'a' and 'b', for pairs, nor 'path' and 'domain'; it has: ; `columns` says which they are"),
    ("photo,map\n", "has no columns 'a' and 'b', for pairs, nor 'path' and 'domain'; it has: photo, map;"),
    ("a,c\n", "has a column 'a', but none called 'b'; it has: a, c"),
    ("split,path\n", "has a column 'path', but none called 'domain'; it has: split, path"),
    ("a,b,path,domain\n", "has 'a' and 'b', as a list of pairs, and 'path' and 'domain', as one of single images"),
    ("a,b,Split\n1.png,2.png,test\n", "the column 'Split' is not read: it is called 'split', or by columns ="),
    ("a,b,a\n", "has several columns of the name 'a'"),
    ("a,b\n", "lists no image of a for train"),
    ("path,domain\n1.png,b\n", "lists no image of a for train"),
    ("a,b,split\n1.png,2.png,test\n", "lists no image of a for train"),
    ("a,b\n1.png,\n2.png,3.png\n,4.png\n,5.png\n", "the column 'a' is empty in lines 4, 5"),
    ("a,b,split\n1.png,2.png,trian\n3.png,4.png,train\n", "'split' says 'trian' in line 2; did you mean 'train'?"),
    ("path,domain\n1.png,a\n2.png,horse\n", "the column 'domain' says 'horse' in line 3 (there is: a, b)"),
    ("a,b\n1.png,2.png\n3.png\n4.png,5.png,6.png\n", "names 2 columns, but lines 3, 4 have more or fewer cells"),
    ('a,b\n"1.png,2.png\n', "line 2 is no CSV: unexpected end of data"),
    ("a,b\n1.png,2.png\n3.png,4.png\n1.png,2.png\n", "listed more than once: 1.png (lines 2, 4)"),
    ("path,domain\n1.png,a\n2.png,b\n./1.png,a\n", "listed more than once: 1.png (lines 2, 4)"),
    ("a,b,split\n1.png,2.png,train\n1.png,2.png,val\n", "in train and in another set: 1.png (lines 2, 3)"),
    ("a,b,split\n1.png,2.png,train\n3.png,2.png,val\n", "in train and in another set: 2.png (lines 2, 3)"),
    ("path,domain,split\n1.png,a,train\n2.png,b,train\n1.png,a,test\n3.png,b,test\n", "set: 1.png (lines 2, 4)"),
    ("a,b,mask_a\n1.png,2.png,3.png\n4.png,5.png,\n", "is empty in line 3, but not for the rest of a in train"),
    ("path,domain,label\n1.png,a,x\n2.png,b,\n3.png,a,\n", "is empty in line 4, but not for the rest of a in train"),
    ("a,b,label_a\n1.png,2.png,-1\n", "labels count from 0, not '-1' in line 2 of the column 'label_a'"),
    ("a,b,label_a\n1.png,2.png,3\n4.png,5.png,x\n", "labels are all whole numbers, of at most 9 digits, or all names"),
    ("a,b,label_a\n1.png,2.png,3\n4.png,5.png,1.5\n", "not '3' in line 2 of the column 'label_a' and '1.5' in line 3"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said(folder, text, message):
    assert message in folder.write(text).problems()[0]


def test_an_image_may_have_several_partners(folder):
    assert len(folder.write("a,b\n1.png,2.png\n1.png,3.png\n").source().train().a) == 2


def test_missing_files_are_counted_and_named(folder, tmp_path):
    rows = "".join(f"{i}.jpg,b.png\n" for i in range(14))
    found = folder.write(f"a,b\n{rows}").problems()
    (message,) = found
    start = f"14 of 14 files of the column 'a' are not there, looked for from {str(tmp_path)!r}: 0.jpg (line 2), 1.jpg"
    assert message.startswith(start) and message.endswith("9.jpg (line 11) and 4 more")
    folder.path.write_bytes(b"a,b\n\0.png,b.png\n" + b"x" * 5000 + b".png,b.png\n")
    (message,) = folder.problems()
    assert "2 of 2 files" in message and len(message) < 500


def test_wrong_columns_in_the_recipe(folder):
    folder.write("photo,b\n1.png,2.png\n")
    found = folder.problems(columns={"a": "photos", "masks": "b"})
    assert found[0] == "the file has no column 'photos'; did you mean 'photo'? (there is: b, photo)"
    assert found[1].startswith("there is no such column of a manifest; did you mean 'mask'?")


def test_many_columns_are_read_in_no_time(folder):
    folder.write("a,b," + ",".join(map(str, range(100_000))))
    assert folder.problems()[0] == "lists no image of a for train"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_told(folder, encoding):
    folder.path.write_bytes("a,b\n1.png,2.png\né.png,ü.png\n".encode(encoding))
    (message,) = folder.problems()
    assert message.startswith("is not UTF-8 after line ") and message.endswith("save it as CSV in UTF-8, or as Parquet")


def test_files_that_are_no_manifests(folder, tmp_path, monkeypatch):
    with pytest.raises(I2IError, match=r"data.source.path: says no file"):
        Manifest()
    with pytest.raises(I2IError, match=r"data.source.path: there is no file .*list.csv"):
        folder.source()
    with pytest.raises(I2IError, match="is a folder, not a file"):
        Manifest(path=str(tmp_path))
    folder.write(PAIRS)
    monkeypatch.setattr("i2i_plugins.manifest.table.MOST_ROWS", 1)
    assert folder.problems() == ["has more than 1 rows"]
    monkeypatch.setattr("i2i_plugins.manifest.table.MOST_BYTES", 10)
    assert "too large for a list of images" in folder.problems()[0]
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    monkeypatch.setattr("i2i_plugins.manifest.table.MOST_BYTES", 1000)
    assert folder.problems() == ["cannot be read: Permission denied"]
