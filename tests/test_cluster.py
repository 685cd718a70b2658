"""What of Ray Data's log reaches the terminal: warnings and rows done, each once."""

import logging

from mint_ray.cluster import News


def passes(news: News, message: str, level: int = logging.INFO) -> bool:
    return news.filter(logging.LogRecord("ray.data", level, __file__, 1, message, None, None))


def test_rows_done_are_news_once():
    news = News()
    assert passes(news, "Write: 528/1400")
    assert not passes(news, "Write: 528/1400")
    assert passes(news, "Write: 792/1400")


def test_plans_totals_and_operators_that_have_not_begun_are_no_news():
    news = News()
    said = ["======= Running Dataset: d =======", "Total Progress: 3/5", "  Tasks: 1; Actors: 0", "Write: 0/1", ""]
    assert not any(passes(news, message) for message in said)


def test_warnings_always_pass():
    news = News()
    assert all(passes(news, "a block was lost", logging.WARNING) for _ in range(2))
