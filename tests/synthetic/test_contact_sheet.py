import dataclasses

import numpy as np
from data_folders import HEIGHT, WIDTH, labelled_sample, unlabelled_frame

from hdnet.synthetic import contact_sheet, film_strip
from hdnet.synthetic.contact_sheet import distributions, picture_sheet, strip_names

GAP = 4


def cell(sheet, row, column):
    pixels = np.asarray(sheet)
    y, x = row * (HEIGHT + GAP), column * (WIDTH + GAP)
    return pixels[y : y + HEIGHT, x : x + WIDTH]


def test_a_sample_is_a_column_of_five_pictures():
    samples = [labelled_sample(f"{k:07d}", k) for k in range(14)]
    sheet = contact_sheet(samples)
    assert sheet.size == (12 * (WIDTH + GAP) - GAP, 5 * (HEIGHT + GAP) - GAP)
    for column in (0, 11):
        np.testing.assert_array_equal(cell(sheet, 0, column), samples[column].image)
        np.testing.assert_array_equal(cell(sheet, 1, column), samples[column].white_image)
    depth, mask = cell(sheet, 3, 0), samples[0].mask
    assert (depth[~mask] == 255).all()
    assert depth[HEIGHT // 2, WIDTH // 2, 0] == depth[mask].max()
    assert contact_sheet(samples, columns=3).size[0] == 3 * (WIDTH + GAP) - GAP


def test_a_mask_larger_than_the_person_does_not_spoil_the_depth():
    sample = labelled_sample("0000000")
    spilled = dataclasses.replace(sample, mask=np.ones_like(sample.mask))
    inside = sample.mask
    np.testing.assert_array_equal(
        cell(contact_sheet([spilled]), 3, 0)[inside], cell(contact_sheet([sample]), 3, 0)[inside]
    )


def test_a_sequence_is_a_row_from_its_first_to_its_last_frame():
    sequences = {f"seq-{s}": [f"{100 * s + k:07d}" for k in range(count)] for s, count in enumerate((30, 5, 12))}
    frames = [unlabelled_frame(name, sequence, int(name)) for sequence, names in sequences.items() for name in names]
    sheet = film_strip(frames, columns=6, rows=2)
    assert sheet.size == (6 * (WIDTH + GAP) - GAP, 2 * (HEIGHT + GAP) - GAP)
    np.testing.assert_array_equal(cell(sheet, 0, 0), frames[0].image)
    np.testing.assert_array_equal(cell(sheet, 0, 5), frames[29].image)
    np.testing.assert_array_equal(cell(sheet, 1, 4), frames[34].image)
    assert (cell(sheet, 1, 5) == 255).all()
    shown = set(strip_names(sequences, columns=6, rows=2))
    assert len(shown) == 11
    again = film_strip([frame for frame in frames if frame.name in shown], columns=6, rows=2)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(sheet))


def test_large_pictures_are_shrunk_to_a_cell():
    sample = labelled_sample("0000000")
    large = {
        field.name: np.repeat(np.repeat(value, 32, 0), 32, 1)
        for field in dataclasses.fields(sample)
        if isinstance(value := getattr(sample, field.name), np.ndarray)
    }
    assert contact_sheet([dataclasses.replace(sample, **large)]).size == (192, 5 * 256 + 4 * GAP)


def test_distributions_are_a_panel_a_fact():
    facts = np.zeros(40, [("age", "f4"), ("clothes", "U20"), ("light", "U8"), ("roll_deg", "f4")])
    facts["age"], facts["light"] = np.linspace(0, 1, 40), "sun"
    facts["clothes"][:20], facts["roll_deg"] = "shirt trousers", np.nan
    few, many = distributions(facts[["age"]]), distributions(facts)
    assert few.size == many.size
    assert np.asarray(many).std() > np.asarray(few).std()


def test_pictures_alone_fill_rows():
    pictures = [labelled_sample(f"{k:07d}", k).image for k in range(11)]
    sheet = picture_sheet(pictures)
    assert sheet.size == (8 * (WIDTH + GAP) - GAP, 2 * (HEIGHT + GAP) - GAP)
    np.testing.assert_array_equal(cell(sheet, 1, 2), pictures[10])
    assert (cell(sheet, 1, 3) == 255).all()
