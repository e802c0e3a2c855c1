"""Proper names of persons, places and organisations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

# male given names, female given names and surnames of three origins; all languages spell them alike
_PEOPLE = (
    (
        "Mehmet Emre Mustafa Kemal Can Murat Hasan",
        "Ayşe Fatma Zeynep Elif Selin Leyla",
        "Yılmaz Demir Kaya Öztürk Çelik",
    ),
    (
        "Juma Baraka Hamisi Salim Jabari Rashidi",
        "Asha Amina Neema Rehema Halima Mwanaidi",
        "Mwangi Otieno Kamau Mushi Njoroge",
    ),
    (
        "Peter David Daniel Robert Thomas Martin",
        "Emma Anna Laura Julia Helen Maria",
        "Smith Wilson Cooper Miller Adams",
    ),
)

# English | Turkish | Swahili
_PLACES = """
Ankara | Ankara | Ankara
Istanbul | İstanbul | Istanbul
Izmir | İzmir | Izmir
Bursa | Bursa | Bursa
Konya | Konya | Konya
Nairobi | Nairobi | Nairobi
Mombasa | Mombasa | Mombasa
Kisumu | Kisumu | Kisumu
Dodoma | Dodoma | Dodoma
Arusha | Arusha | Arusha
Zanzibar | Zanzibar | Zanzibar
Dar es Salaam | Darüsselam | Dar es Salaam
Kampala | Kampala | Kampala
London | Londra | London
Paris | Paris | Paris
Berlin | Berlin | Berlin
Rome | Roma | Roma
Cairo | Kahire | Kairo
Turkey | Türkiye | Uturuki
Kenya | Kenya | Kenya
Tanzania | Tanzanya | Tanzania
Uganda | Uganda | Uganda
Egypt | Mısır | Misri
Germany | Almanya | Ujerumani
France | Fransa | Ufaransa
England | İngiltere | Uingereza
Greece | Yunanistan | Ugiriki
Russia | Rusya | Urusi
India | Hindistan | India
China | Çin | China
Africa | Afrika | Afrika
Europe | Avrupa | Ulaya
"""

# English | Turkish, with "+" if the name ends in a compound's possessive suffix | Swahili and the name's noun class
_ORGANISATIONS = """
the World Bank | Dünya Bankası+ | Benki ya Dunia 9
the Central Bank | Merkez Bankası+ | Benki Kuu 9
the United Nations | Birleşmiş Milletler | Umoja wa Mataifa 11
the African Union | Afrika Birliği+ | Umoja wa Afrika 11
the European Union | Avrupa Birliği+ | Umoja wa Ulaya 11
the Red Cross | Kızılhaç | Msalaba Mwekundu 3
the University of Nairobi | Nairobi Üniversitesi+ | Chuo Kikuu cha Nairobi 7
the University of Ankara | Ankara Üniversitesi+ | Chuo Kikuu cha Ankara 7
the Ministry of Health | Sağlık Bakanlığı+ | Wizara ya Afya 9
the Ministry of Education | Eğitim Bakanlığı+ | Wizara ya Elimu 9
Toyota | Toyota | Toyota 9
Safaricom | Safaricom | Safaricom 9
Google | Google | Google 9
"""


@dataclass(frozen=True)
class Name:
    """A proper name: its tokens in each language, and its entity type, `kind` (PER, LOC or ORG).

    article: whether "the" precedes it in English. compound: whether it ends in a possessive suffix in Turkish.
    """

    en: tuple[str, ...]
    tr: tuple[str, ...]
    sw: tuple[str, ...]
    kind: str
    gender: str = "n"
    article: bool = False
    compound: bool = False
    sw_class: int = 1


@cache
def given_names() -> tuple[tuple[Name, tuple[str, ...]], ...]:
    """Return the given names, each with the surnames that go with it."""
    rows = []
    for men, women, surnames in _PEOPLE:
        for gender, given in (("m", men), ("f", women)):
            for name in given.split():
                rows.append((Name((name,), (name,), (name,), "PER", gender), tuple(surnames.split())))
    return tuple(rows)


@cache
def place_names() -> tuple[Name, ...]:
    """Return the names of places."""
    rows = [[tuple(cell.split()) for cell in row.split("|")] for row in _PLACES.strip().splitlines()]
    return tuple(Name(en, tr, sw, "LOC", sw_class=9) for en, tr, sw in rows)


@cache
def organisation_names() -> tuple[Name, ...]:
    """Return the names of companies and institutions."""
    names = []
    for row in _ORGANISATIONS.strip().splitlines():
        en, tr, sw = (cell.split() for cell in row.split("|"))
        article = en[0] == "the"
        compound = tr[-1].endswith("+")
        tr[-1] = tr[-1].rstrip("+")
        names.append(Name(tuple(en[article:]), tuple(tr), tuple(sw[:-1]), "ORG", "n", article, compound, int(sw[-1])))
    return tuple(names)
