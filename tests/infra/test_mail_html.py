"""The filters of the frame of mails."""

from idp.infra.mail_html import PREHEADER_LENGTH, preheader


def test_the_preheader_is_the_text_after_the_salutation() -> None:
    assert (
        preheader('<p>Hello,</p>\n<pre>x</pre><p class="a">One <b>two</b>\n three</p><p>four</p>')
        == "One two three four"
    )
    assert preheader("<p>Only</p><p>open") == "Only"
    assert len(preheader("<p>a</p><p>" + "word " * 100 + "</p>")) <= PREHEADER_LENGTH + 2


def test_paragraphs_without_an_end_take_no_quadratic_time() -> None:
    # With a search for each end this takes hours.
    assert preheader("<p>" * 700_000) == ""


def test_only_the_beginning_is_read() -> None:
    assert preheader("<p>a</p>" + " " * 20_000 + "<p>b</p>") == "a"
