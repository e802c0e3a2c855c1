"""Recognise the names of languages: ISO 639 codes, alone or with a region or script, and the English names of many.

An entry of CODES has the names of one language: its ISO 639-1 code, its codes of three letters, its English names. Some
languages of data sets have no ISO 639-1 code, and begin with their code of ISO 639-3. The other codes of three letters
are those of ISO 639-2 (B and T), and those of ISO 639-3 that data sets use: `cmn`, `arb`, `swh`.
"""

from __future__ import annotations

import re

CODES = """
aa aar afar|ab abk abkhazian|ae ave avestan|af afr afrikaans|ak aka akan|am amh amharic|an arg aragonese
ar ara arb arabic|as asm assamese|av ava avaric|ay aym aymara|az aze azerbaijani|ba bak bashkir|be bel belarusian
bg bul bulgarian|bi bis bislama|bm bam bambara|bn ben bengali|bo bod tib tibetan|br bre breton|bs bos bosnian
ca cat catalan|ce che chechen|ch cha chamorro|co cos corsican|cr cre cree|cs ces cze czech|cu chu|cv chv chuvash
cy cym wel welsh|da dan danish|de deu ger german|dv div dhivehi|dz dzo dzongkha|ee ewe|el ell gre greek|en eng english
eo epo esperanto|es spa spanish|et est ekk estonian|eu eus baq basque|fa fas per pes persian|ff ful fulah|fi fin finnish
fj fij fijian|fo fao faroese|fr fra fre french|fy fry frisian|ga gle irish|gd gla|gl glg galician|gn grn guarani
gu guj gujarati|gv glv manx|ha hau hausa|he heb hebrew|hi hin hindi|ho hmo|hr hrv croatian|ht hat haitian
hu hun hungarian|hy hye arm armenian|hz her herero|ia ina interlingua|id ind indonesian|ie ile|ig ibo igbo|ii iii
ik ipk|io ido|is isl ice icelandic|it ita italian|iu iku inuktitut|ja jpn japanese|jv jav javanese|ka kat geo georgian
kg kon kongo|ki kik kikuyu|kj kua|kk kaz kazakh|kl kal kalaallisut|km khm khmer|kn kan kannada|ko kor korean|kr kau
ks kas kashmiri|ku kur kurdish|kv kom komi|kw cor cornish|ky kir kirghiz kyrgyz|la lat latin|lb ltz luxembourgish
lg lug ganda luganda|li lim|ln lin lingala|lo lao|lt lit lithuanian|lu lub|lv lav latvian|mg mlg malagasy|mh mah
mi mri mao maori|mk mkd mac macedonian|ml mal malayalam|mn mon mongolian|mr mar marathi|ms msa may malay|mt mlt maltese
my mya bur burmese|na nau|nb nob|nd nde|ne nep npi nepali|ng ndo|nl nld dut dutch|nn nno|no nor norwegian|nr nbl|nv nav
ny nya chichewa|oc oci occitan|oj oji|om orm oromo|or ori ory odia|os oss ossetian|pa pan punjabi|pi pli pali
pl pol polish|ps pus pashto|pt por portuguese|qu que quechua|rm roh romansh|rn run rundi|ro ron rum romanian
ru rus russian|rw kin kinyarwanda|sa san sanskrit|sc srd sardinian|sd snd sindhi|se sme|sg sag sango|si sin sinhala
sk slk slo slovak|sl slv slovenian|sm smo samoan|sn sna shona|so som somali|sq sqi alb albanian|sr srp serbian|ss ssw
st sot sotho|su sun sundanese|sv swe swedish|sw swa swh swahili|ta tam tamil|te tel telugu|tg tgk tajik|th tha thai
ti tir tigrinya|tk tuk turkmen|tl tgl tagalog|tn tsn tswana|to ton tongan|tr tur turkish|ts tso tsonga|tt tat tatar
tw twi|ty tah tahitian|ug uig uyghur|uk ukr ukrainian|ur urd urdu|uz uzb uzbek|ve ven venda|vi vie vietnamese|vo vol
wa wln walloon|wo wol wolof|xh xho xhosa|yi yid yiddish|yo yor yoruba|za zha zhuang|zh zho chi cmn chinese|zu zul zulu
ast asturian|bem bemba|bho bhojpuri|ceb cebuano|ckb sorani|fil filipino|fon|gsw|hsb|ilo ilocano|kab kabyle|kmr kurmanji
luo|mai maithili|mos mossi|nds|nso|pcm|quy|sah yakut|scn sicilian|wuu|yue cantonese
"""
CODE_OF = {name: words.split()[0] for words in re.split(r"[|\n]", CODES.strip()) for name in words.split()}
NO_LANGUAGES = {"mlm", "ner", "nli", "pos"} | {"all", "dev", "new", "old", "out", "raw", "tmp", "trn", "tst", "val"}


def language_code(name: str) -> str | None:
    """Return the code of a language; None if the name is not a language's, but a folder's, say.

    The code is that of ISO 639-1 if the language has one: `de` for `de-AT`, `deu`, `ger` and `German`. An unknown name
    of three letters counts as an ISO 639-3 code, unless it is a common name of data folders (`dev`, `nli`).
    """
    known = name.strip().casefold()
    primary = re.split("[-_]", known)[0]
    if code := CODE_OF.get(known) or (CODE_OF.get(primary) if len(primary) < 4 else None):
        return code
    return primary if re.fullmatch("[a-z]{3}", primary) and primary not in NO_LANGUAGES else None


def same_language(one: str, other: str) -> bool:
    """Return whether two names mean one language; a name without region and script stands for all regions and scripts.

    `zh` is the same as `zh-TW` and as `Chinese`, but `zh-CN` is not the same as `zh-TW`.
    """
    first, second = (_parts(name) for name in (one, other))
    shared = min(len(first), len(second))
    return first[:shared] == second[:shared]


def _parts(name: str) -> list[str]:
    code = language_code(name)
    return [name.strip().casefold()] if code is None else [code, *re.split("[-_]", name.strip().casefold())[1:]]
