from hdnet.tables import markdown_table


def test_columns_stand_as_told_and_the_last_letter_counts_for_the_rest():
    lines = markdown_table(["", "a", "b"], [["x", 1, ""], ["", 2.5, "c"]], "lr")
    assert lines == ["| | a | b |", "|---|---:|---:|", "| x | 1 | |", "| | 2.5 | c |"]


def test_all_columns_stand_left_without():
    assert markdown_table(["a", "b"], []) == ["| a | b |", "|---|---|"]
