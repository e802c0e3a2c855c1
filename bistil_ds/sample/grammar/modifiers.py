"""Adjectives, numerals, adverbs and expressions of time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

# English | Turkish | Swahili | kinds of noun that the adjective describes. A Swahili stem with a hyphen agrees with the
# noun's class.
_ADJECTIVES = """
big | büyük | -kubwa | animal thing vehicle place plant food idea
small | küçük | -dogo | animal thing vehicle place plant food
good | iyi | -zuri | person thing food drink idea text
bad | kötü | -baya | person idea food
beautiful | güzel | -zuri | place clothes plant drawn song person
new | yeni | -pya | thing vehicle place text public
tall | uzun | -refu | person wood
long | uzun | -refu | text rope built idea
short | kısa | -fupi | person text idea
heavy | ağır | -zito | thing vehicle
light | hafif | -epesi | thing
difficult | zor | -gumu | idea text language
easy | kolay | rahisi | idea text language
white | beyaz | -eupe | clothes pet livestock home plant dishes
black | siyah | -eusi | clothes pet livestock vehicle
red | kırmızı | -ekundu | clothes vehicle plant dishes
wide | geniş | -pana | room nature built
thick | kalın | -nene | rope text wood
clean | temiz | safi | room dishes clothes drink town
dirty | kirli | -chafu | room dishes clothes vehicle town
sharp | keskin | -kali | sharp
sweet | tatlı | -tamu | crop food brewed
expensive | pahalı | ghali | goods vehicle
cheap | ucuz | rahisi | goods
cold | soğuk | baridi | drink
brave | cesur | hodari | person
lazy | tembel | -vivu | person mount
clever | akıllı | -erevu | person pet
famous | ünlü | maarufu | person place song
rich | zengin | tajiri | person
poor | fakir | maskini | person
sick | hasta | -gonjwa | person
kind | nazik | -pole | person
fierce | vahşi | -kali | wild
foreign | yabancı | -geni | person language
important | önemli | muhimu | idea text person public
different | farklı | tofauti | idea
empty | boş | -tupu | room dishes opens
soft | yumuşak | laini | food clothes
special | özel | maalum | idea goods
"""

_NUMERALS = """
two | iki | -wili
three | üç | -tatu
four | dört | -nne
five | beş | -tano
six | altı | sita
seven | yedi | saba
eight | sekiz | -nane
nine | dokuz | tisa
ten | on | kumi
"""

# phrases for annotation.fixed_phrase in three languages | tenses that the expression of time goes with
_TIMES = """
yesterday:ADV | dün:ADV | jana:ADV | past
tomorrow:ADV | yarın:ADV | kesho:ADV | future
today:ADV | bugün:ADV | leo:ADV | past present future
now:ADV | şimdi:ADV | sasa:ADV | present
every:DET:det day:NOUN | her:DET:det gün:NOUN | kila:DET:det siku:NOUN | habitual
every:DET:det morning:NOUN | her:DET:det sabah:NOUN | kila:DET:det asubuhi:NOUN | habitual
every:DET:det year:NOUN | her:DET:det yıl:NOUN | kila:DET:det mwaka:NOUN | habitual
always:ADV | her:DET:det zaman:NOUN | daima:ADV | habitual
last:ADJ:amod week:NOUN | geçen:ADJ:amod hafta:NOUN | wiki:NOUN iliyopita:VERB:acl | past
last:ADJ:amod year:NOUN | geçen:ADJ:amod yıl:NOUN | mwaka:NOUN jana:ADV:advmod | past
next:ADJ:amod week:NOUN | gelecek:ADJ:amod hafta:NOUN | wiki:NOUN ijayo:VERB:acl | future
next:ADJ:amod year:NOUN | gelecek:ADJ:amod yıl:NOUN | mwaka:NOUN ujao:VERB:acl | future
in:ADP:case the:DET:det morning:NOUN | sabahleyin:ADV | asubuhi:NOUN | past future
in:ADP:case the:DET:det evening:NOUN | akşamleyin:ADV | jioni:NOUN | past future
at:ADP:case night:NOUN | geceleyin:ADV | usiku:NOUN | past habitual
on:ADP:case Monday:PROPN | pazartesi:NOUN günü:NOUN:compound | Jumatatu:PROPN | past future
on:ADP:case Friday:PROPN | cuma:NOUN günü:NOUN:compound | Ijumaa:PROPN | past future
"""

# phrases for annotation.fixed_phrase in three languages | English base forms of the verbs that the manner goes with
_MANNERS = """
quickly:ADV | hızla:ADV | haraka:ADV | run walk eat work write read clean prepare
slowly:ADV | yavaşça:ADV | polepole:ADV | walk eat drink read drive speak swim
well:ADV | iyi:ADV | vizuri:ADV | cook swim work sing sleep understand speak
together:ADV | birlikte:ADV | pamoja:ADV | eat play work sing travel
carefully:ADV | dikkatle:ADV | kwa:ADP:case uangalifu:NOUN | drive read cut listen carry wash
easily:ADV | kolayca:ADV | kwa:ADP:case urahisi:NOUN | learn understand find open repair
happily:ADV | mutlulukla:ADV | kwa:ADP:case furaha:NOUN | laugh sing welcome play smile
again:ADV | tekrar:ADV | tena:ADV | come read ask see return call fall
a:DET:det lot:NOUN | çok:ADV | sana:ADV | work love help laugh cry travel
"""


@dataclass(frozen=True)
class Modifier:
    """A modifier in three languages; `use` has the noun kinds, tenses or English verbs that the modifier goes with."""

    en: str
    tr: str
    sw: str
    use: frozenset[str]


def _rows(table: str) -> tuple[Modifier, ...]:
    rows = [[cell.strip() for cell in row.split("|")] for row in table.strip().splitlines()]
    return tuple(Modifier(row[0], row[1], row[2], frozenset(" ".join(row[3:]).split())) for row in rows)


@cache
def adjectives() -> tuple[Modifier, ...]:
    """Return the adjectives; `sw` starts with a hyphen if the Swahili stem agrees with the noun class."""
    return _rows(_ADJECTIVES)


@cache
def numerals() -> tuple[Modifier, ...]:
    """Return the numerals from two to ten."""
    return _rows(_NUMERALS)


@cache
def times() -> tuple[Modifier, ...]:
    """Return the adverbials of time, as fixed phrases."""
    return _rows(_TIMES)


@cache
def manners() -> tuple[Modifier, ...]:
    """Return the adverbials of manner, as fixed phrases; `use` has English base forms of verbs."""
    return _rows(_MANNERS)
