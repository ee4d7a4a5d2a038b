from pathlib import Path

from uploaderd.catalog import cookbook


def test_the_page_of_queries_is_made_of_their_headers() -> None:
    page = Path(__file__).parents[3] / "docs" / "queries.md"
    assert page.read_text("utf-8") == cookbook.page()


def test_every_query_says_what_it_answers_and_what_it_takes() -> None:
    for query in cookbook.queries().values():
        assert query.answers
        used = {p.name for p in query.parameters if f"%({p.name})s" in query.sql}
        assert used == {p.name for p in query.parameters}, query.name
