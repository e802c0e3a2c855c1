"""Test that the embedded sample is well-formed, repeatable, and right in each of its languages."""

from __future__ import annotations

import random

import pytest

from bistil_ds.sample import LANGUAGES, Sentence, sentences, write_text
from bistil_ds.sample.grammar import english, swahili, turkish
from bistil_ds.sample.grammar import swahili_forms as sw
from bistil_ds.sample.grammar import turkish_forms as tr
from bistil_ds.sample.grammar.meaning import Clause, Participant, Relative
from bistil_ds.sample.grammar.modifiers import Modifier, adjectives, numerals
from bistil_ds.sample.grammar.names import Name, given_names, organisation_names, place_names
from bistil_ds.sample.grammar.nouns import Noun, nouns, nouns_of
from bistil_ds.sample.grammar.verbs import Verb, control_verbs, report_verbs, verbs

UPOS = {*"ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ VERB".split()}  # noqa: SIM905
RELATIONS = {
    *"acl advcl advmod amod aux case cc ccomp compound conj cop det discourse expl fixed flat iobj mark nmod".split(),  # noqa: SIM905
    *"nsubj nummod obj obl punct root xcomp".split(),  # noqa: SIM905
}


@pytest.fixture(scope="module")
def parallel() -> list[dict[str, Sentence]]:
    return list(sentences(3000, seed=7))


def noun(english_word: str) -> Noun:
    return next(n for n in nouns() if n.en == english_word)


def verb(base: str) -> Verb:
    return next(v for v in verbs() if v.en[0] == base)


def adjective(word: str) -> Modifier:
    return next(a for a in adjectives() if a.en == word)


def name(first: str) -> Name:
    return next(n for n in [*(g for g, _ in given_names()), *place_names(), *organisation_names()] if n.en[0] == first)


def say(meaning: Clause) -> tuple[str, str, str]:
    return english.sentence(meaning).text, turkish.sentence(meaning).text, swahili.sentence(meaning).text


def the(english_word: str, **kwargs: object) -> Participant:
    return Participant(noun=noun(english_word), **kwargs)  # type: ignore[arg-type]


def a(english_word: str, **kwargs: object) -> Participant:
    return the(english_word, definite=False, **kwargs)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_tree_has_one_root_no_cycle_and_known_labels(parallel: list[dict[str, Sentence]], language: str) -> None:
    for each in parallel:
        s = each[language]
        n = len(s.tokens)
        assert {len(s.upos), len(s.heads), len(s.relations), len(s.entities), len(s.space_after)} == {n}
        assert s.heads.count(0) == 1
        assert s.relations[s.heads.index(0)] == "root"
        for start in range(1, n + 1):
            at, steps = start, 0
            while at:
                at, steps = s.heads[at - 1], steps + 1
                assert steps <= n, f"cycle in {s}"
        assert set(s.upos) <= UPOS
        assert set(s.relations) <= RELATIONS
        assert [r == "punct" for r in s.relations] == [u == "PUNCT" for u in s.upos]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_words_have_crossing_arcs(parallel: list[dict[str, Sentence]], language: str) -> None:
    for each in parallel[:1000]:
        arcs = [tuple(sorted((i, h))) for i, h in enumerate(each[language].heads, start=1) if h]
        assert not any(a < c < b < d for a, b in arcs for c, d in arcs), each[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_entities_are_iob2_over_proper_names(parallel: list[dict[str, Sentence]], language: str) -> None:
    seen = set()
    for each in parallel:
        s = each[language]
        for before, tag in zip(("O", *s.entities), s.entities):
            seen.add(tag[2:])
            assert tag == "O" or tag[2:] in {"PER", "LOC", "ORG"}
            assert not tag.startswith("I-") or before[2:] == tag[2:]
        assert all(u == "PROPN" for u, tag in zip(s.upos, s.entities) if tag != "O")
    assert seen == {"", "PER", "LOC", "ORG"}


def test_the_languages_name_the_same_entities(parallel: list[dict[str, Sentence]]) -> None:
    for each in parallel:
        kinds = [sorted(tag for tag in each[language].entities if tag.startswith("B-")) for language in LANGUAGES]
        assert kinds[0] == kinds[1] == kinds[2]


def test_tokens_rejoin_to_the_text_and_text_is_tidy(parallel: list[dict[str, Sentence]]) -> None:
    for each in parallel:
        for s in each.values():
            assert s.text.replace(" ", "") == "".join(s.tokens).replace(" ", "")
            assert s.text[0].isupper()
            assert s.text[-1] in ".?!"
            assert " ," not in s.text
            assert "  " not in s.text


def test_sentences_are_many_different_ones(parallel: list[dict[str, Sentence]]) -> None:
    assert len({each["en"].text for each in parallel}) > 0.9 * len(parallel)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    texts = [write_text(folder / n, sentences=200, seed=s) for n, s in (("a", 3), ("b", 3), ("c", 4))]
    for language in LANGUAGES:
        first, again, other = (each[language].read_bytes() for each in texts)
        assert first == again != other
        assert first.count(b"\n") == 200


def test_drawing_sentences_leaves_the_global_random_state_alone() -> None:
    before = random.getstate()
    list(sentences(5))
    assert random.getstate() == before


def test_a_transitive_clause_agrees_in_each_language() -> None:
    meaning = Clause("verb", the("teacher"), verb=verb("read"), object=a("book"), tense="past")
    assert say(meaning) == ("The teacher read a book.", "Öğretmen bir kitap okudu.", "Mwalimu alisoma kitabu.")


def test_a_definite_object_takes_the_accusative_and_a_living_one_an_object_prefix() -> None:
    meaning = Clause("verb", the("child", plural=True), verb=verb("see"), object=the("dog"), tense="present")
    assert say(meaning) == ("The children see the dog.", "Çocuklar köpeği görüyor.", "Watoto wanamwona mbwa.")


def test_negation() -> None:
    meaning = Clause("verb", Participant(person=1), verb=verb("go"), tense="future", negative=True,
                     place=the("market"), place_role="to")  # fmt: skip
    assert say(meaning) == ("I will not go to the market.", "Pazara gitmeyeceğim.", "Sitaenda sokoni.")


def test_numerals_leave_the_turkish_noun_singular_and_agree_in_swahili() -> None:
    chairs = a("chair", plural=True, number=numerals()[0], adjective=adjective("new"))
    meaning = Clause("verb", the("carpenter"), verb=verb("buy"), object=chairs, tense="perfect")
    assert say(meaning) == (
        "The carpenter has bought two new chairs.",
        "Marangoz iki yeni sandalye aldı.",
        "Seremala amenunua viti vipya viwili.",
    )


def test_possession() -> None:
    owner = Participant(name=name("Juma"), gender="m")
    assert say(Clause("have", owner, object=a("car"))) == (
        "Juma has a car.",
        "Juma'nın bir arabası var.",
        "Juma ana gari.",
    )
    meaning = Clause("adjective", the("house", possessor=owner), adjective=adjective("big"), tense="past")
    assert say(meaning)[1:] == ("Juma'nın evi büyüktü.", "Nyumba ya Juma ilikuwa kubwa.")


def test_a_relative_clause() -> None:
    inner = Clause("verb", the("writer"), verb=verb("write"), object=the("letter"), tense="past")
    meaning = Clause("verb", Participant(name=name("Asha"), gender="f"), verb=verb("read"), tense="past",
                     object=the("letter", relative=Relative(inner, "object")))  # fmt: skip
    assert say(meaning) == (
        "Asha read the letter that the writer wrote.",
        "Asha yazarın yazdığı mektubu okudu.",
        "Asha alisoma barua ambayo mwandishi aliandika.",
    )


def test_a_reported_clause() -> None:
    report, case = next(r for r in report_verbs() if r[0].en[0] == "say")
    said = Clause("verb", the("doctor"), verb=verb("come"), tense="future")
    meaning = Clause("verb", the("nurse"), verb=report, complement=said, complement_case=case, tense="past")
    assert say(meaning) == (
        "The nurse said that the doctor would come.",
        "Hemşire doktorun geleceğini söyledi.",
        "Muuguzi alisema kwamba daktari atakuja.",
    )


def test_an_infinitive() -> None:
    want = next(c for c in control_verbs() if c[0].en[0] == "want")
    meaning = Clause("verb", the("girl"), verb=verb("eat"), object=a("apple"), control=want)
    assert say(meaning) == (
        "The girl wants to eat an apple.",
        "Kız bir elma yemek istiyor.",
        "Msichana anataka kula tufaha.",
    )


def test_questions() -> None:
    meaning = Clause(
        "verb", Participant(person=2), verb=verb("drink"), object=the("tea"), tense="past", mood="question"
    )
    assert say(meaning) == ("Did you drink the tea?", "Çayı içtin mi?", "Je, ulikunywa chai?")
    asked = Clause("verb", Participant(asked="who"), verb=verb("open"), object=the("door"), tense="past")
    assert say(asked) == ("Who opened the door?", "Kapıyı kim açtı?", "Nani alifungua mlango?")


def test_place_and_existence() -> None:
    meaning = Clause("exist", a("cat"), place=the("table"))
    assert say(meaning) == ("There is a cat on the table.", "Masada bir kedi var.", "Kuna paka mezani.")
    where = Clause("place", the("key", plural=True), place=Participant(name=name("Paris")))
    assert say(where) == ("The keys are in Paris.", "Anahtarlar Paris'te.", "Funguo ziko Paris.")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (tr.noun_form("kitap", "kitab", owner=(3, False), case="loc"), "kitabında"),
        (tr.noun_form("göl", "göl", plural=True, case="dat"), "göllere"),
        (tr.noun_form("su", "suy", case="gen"), "suyun"),
        (tr.name_form("Dünya Bankası", "abl", True), "Dünya Bankası'ndan"),
        (" ".join(tr.verb_form("oku", "oku", "present", False, (2, False), question=True)), "okuyor musun"),
        (tr.verb_form("git", "gid", "future", False, (1, False))[0], "gideceğim"),
        (tr.verb_form("gel", "gel", "habitual", True, (1, False))[0], "gelmem"),
        (tr.verb_form("bekle", "bekle", "present", True, (3, False))[0], "beklemiyor"),
        (tr.verb_form("ye", "yi", "can", True, (3, False))[0], "yiyemez"),
        (tr.nominalised("gör", "gör", "past", False, (3, True), "acc"), "gördüklerini"),
        (tr.conditional("al", "al", False, (1, True)), "alırsak"),
    ],
)
def test_turkish_forms(form: str, expected: str) -> None:
    assert form == expected


def test_turkish_plurals_obey_vowel_harmony() -> None:
    for each in nouns():
        last = next(c for c in reversed(each.tr.lower()) if c in "aeıioöuü")
        assert tr.noun_form(each.tr, each.tr_stem, plural=True) == each.tr + ("lar" if last in "aıou" else "ler")


def test_swahili_adjectives_agree_with_every_class() -> None:
    expected = {1: "mzuri", 2: "wazuri", 3: "mzuri", 4: "mizuri", 5: "zuri", 6: "mazuri", 7: "kizuri", 8: "vizuri",
                9: "nzuri", 10: "nzuri", 11: "mzuri"}  # fmt: skip
    assert {cls: sw.adjective("-zuri", cls) for cls in expected} == expected
    assert [sw.adjective("-ekundu", cls) for cls in (1, 2, 5, 6, 7, 9)] == [
        "mwekundu",
        "wekundu",
        "jekundu",
        "mekundu",
        "chekundu",
        "nyekundu",
    ]
    assert [sw.adjective("-ingi", cls) for cls in (2, 4, 6, 8, 10)] == ["wengi", "mingi", "mengi", "vingi", "nyingi"]
    assert [sw.adjective("-pya", cls) for cls in (5, 9)] == ["jipya", "mpya"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (sw.verb("la", "present", False, Participant()), "anakula"),
        (sw.verb("la", "past", True, Participant(person=1)), "sikula"),
        (sw.verb("soma", "present", True, Participant(person=1, plural=True)), "hatusomi"),
        (sw.verb("rudi", "perfect", True, Participant(plural=True)), "hawajarudi"),
        (sw.verb("ja", "if", False, Participant()), "akija"),
        (sw.verb("pa", "past", False, Participant(), "m"), "alimpa"),
        (sw.command("la", True), "usile"),
    ],
)
def test_swahili_forms(form: str, expected: str) -> None:
    assert form == expected


def test_english_forms() -> None:
    assert verb("carry").en == ("carry", "carried", "carried", "carrying")
    assert verb("stop").en == ("stop", "stopped", "stopped", "stopping")
    assert verb("visit").en == ("visit", "visited", "visited", "visiting")
    assert {n.en_plural for n in nouns_of("person")} >= {"children", "women", "thieves"}
