"""`i2i.load`: images of every kind out as they came in, and mistakes as messages."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import identity
import numpy as np
import pytest
import torch
from pictures import ink_profile
from PIL import Image

import i2i
from i2i.errors import I2IError
from i2i.images import read
from i2i.translating import Summary, find_inputs, translate_files


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    """A run that changes nothing, between photos and paintings."""
    return identity.run(tmp_path_factory.mktemp("same"), names=["photo", "painting"]).folder


@pytest.fixture(scope="module")
def model(same):
    return i2i.load(same, plugins=[identity.__file__], precision="fp32")  # bf16 computes in a copy


def of(folder, **data):
    return i2i.load(identity.run(folder, **data).folder, plugins=[identity])


def noise(shape, dtype="uint8"):
    rng = np.random.default_rng(0)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def test_importing_i2i_imports_nothing_slow():
    code = "import i2i, sys; slow = {'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules); assert not slow, slow"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        i2i.lode  # noqa: B018


# kinds


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [("L", (9, 14), "uint8"), ("RGB", (9, 14, 3), "uint8"), ("I;16", (9, 14), "uint16"), ("F", (9, 14), "float32")],
)
def test_pillow_images(tmp_path, mode, shape, dtype):
    pixels = noise(shape, dtype)
    image = Image.fromarray(pixels)
    assert image.mode == mode
    channels = 3 if mode == "RGB" else 1
    result = of(tmp_path, channels=channels, names=["a", "b"]).translate(image)
    assert (result.mode, result.size) == (mode, (14, 9))
    assert np.allclose(np.asarray(result), pixels, atol=1e-6 if dtype == "float32" else 0)


def test_pillow_images_of_other_modes_come_out_in_the_nearest(model):
    pixels = noise((9, 14, 3))
    image = Image.fromarray(pixels)
    for given, expected in (("P", "RGB"), ("CMYK", "RGB"), ("1", "RGB"), ("L", "RGB")):
        assert model.translate(image.convert(given)).mode == expected
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.fromarray(pixels[:, :, 0]))
    result = model.translate(transparent)
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result)[:, :, 3], pixels[:, :, 0])


def test_the_profile_of_cmyk_is_applied_as_for_files(model, tmp_path):
    given = Image.fromarray(noise((9, 14, 3))).convert("CMYK")
    given.info["icc_profile"] = ink_profile()
    given.save(tmp_path / "x.tif", icc_profile=ink_profile())
    assert np.array_equal(model.translate(given), read(tmp_path / "x.tif").pixels)
    assert not np.array_equal(model.translate(given), given.convert("RGB"))


def test_a_pillow_image_keeps_what_it_says_beside_its_pixels(model):
    image = Image.fromarray(noise((8, 8, 3)))
    image.info |= {"dpi": (72, 72), "comment": b"mine"}
    assert model.translate(image).info == image.info


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 1), (9, 14, 3), (9, 14, 7)])
def test_arrays(tmp_path, dtype, shape):
    pixels = noise(shape, dtype)
    result = of(tmp_path, channels=shape[2] if len(shape) == 3 else 1).translate(pixels)
    assert isinstance(result, np.ndarray) and result.dtype == dtype and result.shape == shape
    assert np.allclose(result, pixels, rtol=0, atol={"float16": 1e-3, "float32": 1e-6, "float64": 1e-6}.get(dtype, 0))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int16, torch.float16, torch.bfloat16, torch.float32]
)
@pytest.mark.parametrize("shape", [(3, 9, 14), (2, 3, 9, 14)])
def test_tensors(model, dtype, shape):
    tensor = torch.rand(shape).to(dtype) if dtype.is_floating_point else torch.from_numpy(noise(shape)).to(dtype)
    result = model.translate(tensor)
    assert isinstance(result, torch.Tensor) and result.dtype == dtype and result.shape == tensor.shape
    assert result.device == tensor.device and result.is_contiguous()
    assert torch.allclose(result.float(), tensor.float(), rtol=0, atol=1e-2 if dtype == torch.bfloat16 else 1e-3)


def test_a_tensor_with_a_gradient_comes_back_without_one(model):
    tensor = torch.rand(3, 8, 8, requires_grad=True)
    assert not model.translate(tensor).requires_grad and torch.is_grad_enabled()


def test_a_batch_is_one_batch_and_a_list_is_mixed(model):
    network = model._to("b").module
    network.batches.clear()
    model.translate(torch.rand(3, 3, 8, 8))
    assert network.batches == [(3, 3, 8, 8)]
    network.batches.clear()
    given = [noise((8, 8, 3)), Image.fromarray(noise((9, 14, 3))), torch.rand(3, 5, 6)]
    results = model.translate(given)
    assert network.batches == [(1, 3, 8, 8), (1, 3, 9, 14), (1, 3, 5, 6)]
    assert [type(r).__name__ for r in results] == ["ndarray", "Image", "Tensor"]
    assert isinstance(model.translate(tuple(given)), list) and model.translate([]) == []


def test_channels_are_those_of_the_other_domain(tmp_path):
    model = of(tmp_path, channels=[1, 3])
    assert model.translate(Image.new("L", (4, 5))).mode == "RGB"
    assert model.translate(noise((4, 5))).shape == (4, 5, 3)
    assert model.translate(noise((4, 5, 3)), to="a").shape == (4, 5, 1)


def test_an_alpha_comes_back(model):
    rgba = noise((8, 8, 4))
    assert np.array_equal(model.translate(rgba)[..., 3], rgba[..., 3])
    tensor = torch.from_numpy(rgba).permute(2, 0, 1)
    assert torch.equal(model.translate(tensor)[3], tensor[3])


# values


def test_integers_and_floats_have_the_range_of_the_domain(tmp_path):
    model = of(tmp_path, channels=1, range=[[0.0, 4095.0], [-1.0, 1.0]])
    pixels = np.array([[0, 1000, 4095]], np.uint16)
    expected = pixels / 4095 * 2 - 1
    result = model.translate(pixels)
    assert result.dtype == np.float32  # which uint16 does not hold
    assert np.allclose(result, expected, atol=1e-6)
    assert np.allclose(model.translate(pixels.astype(np.float64)), expected, atol=1e-6)
    assert np.allclose(model.translate(result, to="a"), pixels, atol=1e-2)


def test_floats_are_from_0_to_1_where_nothing_else_is_declared(model):
    pixels = noise((6, 6, 3))
    (result,) = model.translate([pixels.astype(np.float32) / 255])
    assert np.allclose(result * 255, model.translate(pixels), atol=1e-3)


def test_values_outside_are_clipped_with_a_warning(model):
    given = np.array([[[-0.5, 0.5, 2.0]]], np.float32)
    with pytest.warns(UserWarning, match=r"2 values outside 0 to 1, the range of 'photo', are clipped") as told:
        result = model.translate(given)
        model.translate([given])
    assert np.allclose(result, [[[0, 0.5, 1]]], atol=1e-6)
    assert [warning.filename for warning in told] == [__file__] * 2


def test_the_numbers_are_those_of_files(model, same, tmp_path):
    pixels = noise((9, 14, 3), "uint16")
    np.save(tmp_path / "x.npy", pixels)
    places, _ = find_inputs([str(tmp_path / "x.npy")], None)
    translate_files(model._to("b"), places, tmp_path / "out", Summary(1))
    assert np.array_equal(np.load(tmp_path / "out" / "x.npy"), model.translate(pixels))


# directions


def test_domains_have_names(same, model):
    assert model.names == ("photo", "painting")
    for to, expected in ((None, "ab"), ("b", "ab"), ("painting", "ab"), ("a", "ba"), ("photo", "ba")):
        assert model._to(to).direction == expected
    assert len(model._translators) == 2  # each is loaded once
    back = i2i.load(same, to="photo", plugins=[identity.__file__])
    assert len(back._translators) == 1 and back._to(None).direction == "ba"
    assert back.names == ("photo", "painting")


@pytest.mark.parametrize("names", [["b", "a"], ["x", "x"]])
def test_letters_mean_the_same_whatever_domains_are_called(tmp_path, names):
    model = of(tmp_path, names=names)
    assert (model._to("a").direction, model._to("b").direction) == ("ba", "ab")


def test_a_weights_file_is_enough(same):
    model = i2i.load(same / "ba.safetensors", plugins=[identity.__file__])
    assert model.names == ("photo", "painting")
    pixels = noise((4, 4, 3))
    assert np.array_equal(model.translate(pixels), pixels) and np.array_equal(model.translate(pixels, to="a"), pixels)
    with pytest.raises(I2IError, match=r"^to: ba.safetensors translates to 'photo', not to 'b'$"):
        model.translate(pixels, to="b")


# mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "dog"}, "to: there is no domain 'dog'; there is: photo, painting (or a, b)"),
        ({"checkpoint": 3}, "checkpoint: '3' is not there; there is: latest"),
        ({"device": "tpu"}, "device: 'tpu' is no device; auto, cpu, cuda, cuda:1 or mps"),
        ({"plugins": ["nowhere.py"]}, "-p nowhere.py: there is no such file"),
        ({"plugins": []}, "plugin 'identity' is not loaded"),
    ],
)
def test_mistakes_in_loading(same, options, message):
    with pytest.raises(I2IError) as error:
        i2i.load(same, **({"plugins": [identity.__file__]} | options))
    assert message in str(error.value)


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(I2IError, match="there is no such folder"):
        i2i.load(tmp_path / "nowhere")
    with pytest.raises(I2IError, match="is no run"):
        i2i.load(str(tmp_path))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise((4, 4, 7)), "image: has 7 channels and cannot be brought to 3"),
        (noise((4,)), "image: has the shape (4,); an image is (H, W) or (H, W, C)"),
        (np.zeros((0, 4, 3), np.uint8), "image: has the shape (0, 4, 3)"),
        (np.zeros((4, 4), np.int64), "image: holds int64"),
        (np.array([[np.nan, 0.5, np.inf]]), "image: holds 2 values that are not finite"),
        (torch.zeros(4, 4), "image: has the shape (4, 4); an image is (C, H, W), several are (N, C, H, W)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "image: holds int64"),
        (torch.zeros(3, 4, 4).to_sparse(), "image: is a tensor that no array can hold"),
        (torch.zeros(3, 4, 4, device="meta"), "image: is a tensor that no array can hold"),
        (torch.zeros(3, 4, 4).to(torch.float8_e4m3fn), "image: is a tensor that no array can hold"),
        (torch.zeros(0, 3, 4, 4), "image: has the shape (0, 3, 4, 4)"),
        (Image.new("I", (4, 4)), "image: has the mode I"),
        ("photo.jpg", "image: is a str; it may be a Pillow image, a NumPy array, a tensor, or a list of them"),
        ([Image.new("L", (4, 4)), None], "image 1: is a NoneType"),
    ],
)
def test_mistakes_in_images(model, image, message):
    with pytest.raises(I2IError) as error:
        model.translate(image)
    assert str(error.value).startswith(message)


def test_a_truncated_pillow_image_is_told(model, tmp_path):
    Image.fromarray(noise((64, 64, 3))).save(tmp_path / "x.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:1500])
    with Image.open(tmp_path / "cut.jpg") as image, pytest.raises(I2IError, match=r"^image 0: is damaged or truncated"):
        model.translate([image])


def test_what_pillow_has_no_mode_for_is_told(tmp_path):
    with pytest.raises(I2IError, match="becomes 7 channels of uint8, which Pillow has no mode for; give an array"):
        of(tmp_path, channels=[1, 7]).translate(Image.new("L", (4, 4)))


def test_several_threads_share_a_model(same):
    model = i2i.load(same, plugins=[identity.__file__])
    images = [np.full((4 + i, 6, 3), i, np.uint8) for i in range(24)]
    together = threading.Barrier(4)

    def translate(i):
        if i < 4:
            together.wait()
        return model.translate(images[i], to="ab"[i % 2])

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(translate, range(24)))
    assert all(np.array_equal(r, i) for r, i in zip(results, images, strict=True))
    assert len(model._translators) == 2
