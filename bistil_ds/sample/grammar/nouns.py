"""List the nouns: their forms in English, Turkish and Swahili, their Swahili class, and the kinds that they belong to.

A row is  English [plural] | Turkish [stem before a vowel] | Swahili singular, plural, class | kinds.
The English plural is left out if it only adds -s; "-" stands for the plural of a mass noun. The Turkish stem is left
out if it is the noun itself. Kinds say which verbs and adjectives a noun goes with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_TABLE = """
teacher | öğretmen | mwalimu walimu 1 | person
student | öğrenci | mwanafunzi wanafunzi 1 | person
child children | çocuk çocuğ | mtoto watoto 1 | person
woman women | kadın | mwanamke wanawake 1 | person
man men | adam | mwanaume wanaume 1 | person
girl | kız | msichana wasichana 1 | person
boy | oğlan | mvulana wavulana 1 | person
farmer | çiftçi | mkulima wakulima 1 | person
doctor | doktor | daktari madaktari 5 | person
nurse | hemşire | muuguzi wauguzi 1 | person
cook | aşçı | mpishi wapishi 1 | person
driver | şoför | dereva madereva 5 | person
guest | misafir | mgeni wageni 1 | person guest
neighbour | komşu | jirani majirani 9 | person kin
friend | arkadaş | rafiki marafiki 9 | person kin
mother | anne | mama mama 9 | person kin parent
father | baba | baba baba 9 | person kin parent
grandmother | büyükanne | bibi bibi 9 | person kin parent
fisherman fishermen | balıkçı | mvuvi wavuvi 1 | person
worker | işçi | mfanyakazi wafanyakazi 1 | person
merchant | tüccar | mfanyabiashara wafanyabiashara 1 | person
soldier | asker | askari askari 9 | person
singer | şarkıcı | mwimbaji waimbaji 1 | person
writer | yazar | mwandishi waandishi 1 | person
judge | yargıç yargıc | hakimu mahakimu 5 | person
leader | lider | kiongozi viongozi 7 | person leader
hunter | avcı | mwindaji wawindaji 1 | person
king | kral | mfalme wafalme 1 | person
thief thieves | hırsız | mwizi wezi 1 | person thief
engineer | mühendis | mhandisi wahandisi 1 | person
president | başkan | rais marais 5 | person leader
minister | bakan | waziri mawaziri 5 | person
lawyer | avukat | wakili mawakili 5 | person
carpenter | marangoz | seremala maseremala 5 | person
patient | hasta | mgonjwa wagonjwa 1 | person patient
dog | köpek köpeğ | mbwa mbwa 9 | animal pet
cat | kedi | paka paka 9 | animal pet
cow | inek ineğ | ng'ombe ng'ombe 9 | animal livestock
goat | keçi | mbuzi mbuzi 9 | animal livestock
sheep sheep | koyun | kondoo kondoo 9 | animal livestock
horse | at | farasi farasi 9 | animal livestock mount
donkey | eşek eşeğ | punda punda 9 | animal livestock mount
camel | deve | ngamia ngamia 9 | animal livestock mount
chicken | tavuk tavuğ | kuku kuku 9 | animal livestock
duck | ördek ördeğ | bata mabata 5 | animal livestock flier
lion | aslan | simba simba 9 | animal wild
leopard | leopar | chui chui 9 | animal wild
hyena | sırtlan | fisi fisi 9 | animal wild
elephant | fil | tembo tembo 9 | animal wild
giraffe | zürafa | twiga twiga 9 | animal wild
monkey | maymun | tumbili tumbili 9 | animal wild
snake | yılan | nyoka nyoka 9 | animal wild
crocodile | timsah | mamba mamba 9 | animal wild swimmer
rabbit | tavşan | sungura sungura 9 | animal
mouse mice | fare | panya panya 9 | animal
frog | kurbağa | chura vyura 7 | animal swimmer
bird | kuş | ndege ndege 9 | animal flier
bee | arı | nyuki nyuki 9 | animal flier
fish fish | balık balığ | samaki samaki 9 | animal swimmer cookable
book | kitap kitab | kitabu vitabu 7 | thing text goods
letter | mektup mektub | barua barua 9 | thing text
newspaper | gazete | gazeti magazeti 5 | thing text goods
report | rapor | ripoti ripoti 9 | thing text
story stories | hikaye | hadithi hadithi 9 | text idea tale
knife knives | bıçak bıçağ | kisu visu 7 | thing tool goods sharp
axe | balta | shoka mashoka 5 | thing tool goods sharp
rope | ip | kamba kamba 9 | thing goods tool rope
spoon | kaşık kaşığ | kijiko vijiko 7 | thing goods tool
broom | süpürge | ufagio fagio 11 | thing goods tool
spear | mızrak mızrağ | mkuki mikuki 3 | thing goods tool sharp
net | ağ | wavu nyavu 11 | thing goods tool
key | anahtar | ufunguo funguo 11 | thing small
pen | kalem | kalamu kalamu 9 | thing goods small tool
chair | sandalye | kiti viti 7 | thing goods furniture fragile
table | masa | meza meza 9 | thing goods furniture surface
bed | yatak yatağ | kitanda vitanda 7 | thing goods furniture surface
bag | çanta | mfuko mifuko 3 | thing goods opens small
basket | sepet | kikapu vikapu 7 | thing goods
box boxes | kutu | sanduku masanduku 5 | thing goods opens
cup | fincan | kikombe vikombe 7 | thing goods fragile dishes
plate | tabak tabağ | sahani sahani 9 | thing goods fragile dishes
pot | tencere | sufuria sufuria 9 | thing goods dishes
bottle | şişe | chupa chupa 9 | thing goods fragile dishes
lamp | lamba | taa taa 9 | thing goods fragile
mirror | ayna | kioo vioo 7 | thing goods fragile
shoe | ayakkabı | kiatu viatu 7 | thing goods clothes
shirt | gömlek gömleğ | shati mashati 5 | thing goods clothes
hat | şapka | kofia kofia 9 | thing goods clothes small
dress | elbise | gauni magauni 5 | thing goods clothes
blanket | battaniye | blanketi mablanketi 5 | thing goods
picture | resim resm | picha picha 9 | thing goods drawn
map | harita | ramani ramani 9 | thing goods drawn
computer | bilgisayar | kompyuta kompyuta 9 | thing goods machine
phone | telefon | simu simu 9 | thing goods machine small
gift | hediye | zawadi zawadi 9 | thing goods
ball | top | mpira mipira 3 | thing goods thrown
stone | taş | jiwe mawe 5 | thing thrown
drum | davul | ngoma ngoma 9 | thing goods
flower | çiçek çiçeğ | ua maua 5 | thing goods plant
tree | ağaç ağac | mti miti 3 | plant wood
door | kapı | mlango milango 3 | opens
window | pencere | dirisha madirisha 5 | opens fragile
wall | duvar | ukuta kuta 11 | built
bridge | köprü | daraja madaraja 5 | built
road | yol | barabara barabara 9 | built
car | araba | gari magari 5 | goods vehicle machine
bus buses | otobüs | basi mabasi 5 | vehicle machine
train | tren | treni treni 9 | vehicle machine
bicycle | bisiklet | baiskeli baiskeli 9 | goods machine
boat | kayık kayığ | mashua mashua 9 | goods vehicle
ship | gemi | meli meli 9 | vehicle machine
plane | uçak uçağ | ndege ndege 9 | vehicle machine
bread - | ekmek ekmeğ | mkate mikate 3 | food goods cookable
meat - | et | nyama nyama 9 | food goods cookable
soup - | çorba | supu supu 9 | food cookable
honey - | bal | asali asali 9 | food goods
salt - | tuz | chumvi chumvi 9 | goods
sugar - | şeker | sukari sukari 9 | goods
corn - | mısır | mahindi mahindi 6 | food goods cookable crop
egg | yumurta | yai mayai 5 | food goods cookable
banana | muz | ndizi ndizi 9 | food goods crop
orange | portakal | chungwa machungwa 5 | food goods crop
mango mangoes | mango | embe maembe 5 | food goods crop
apple | elma | tufaha matufaha 5 | food goods crop
lemon | limon | limau malimau 5 | food goods crop
potato potatoes | patates | kiazi viazi 7 | food goods cookable crop
onion | soğan | kitunguu vitunguu 7 | food goods cookable crop
tomato tomatoes | domates | nyanya nyanya 9 | food goods cookable crop
bean | fasulye | haragwe maharagwe 5 | food goods cookable crop
cake | kek | keki keki 9 | food goods cookable
water - | su suy | maji maji 6 | drink
milk - | süt | maziwa maziwa 6 | drink goods
tea - | çay | chai chai 9 | drink goods brewed
coffee - | kahve | kahawa kahawa 9 | drink goods brewed
medicine - | ilaç ilac | dawa dawa 9 | goods
money - | para | pesa pesa 9 | wealth
house | ev | nyumba nyumba 9 | place home building
school | okul | shule shule 9 | place building
market | pazar | soko masoko 5 | place
hospital | hastane | hospitali hospitali 9 | place building
city cities | şehir şehr | mji miji 3 | place town
village | köy | kijiji vijiji 7 | place town
river | nehir nehr | mto mito 3 | place nature
lake | göl | ziwa maziwa 5 | place nature
mountain | dağ | mlima milima 3 | place nature
forest | orman | msitu misitu 3 | place nature
field | tarla | shamba mashamba 5 | place nature
garden | bahçe | bustani bustani 9 | place
kitchen | mutfak mutfağ | jiko majiko 5 | place room
room | oda | chumba vyumba 7 | place room
office | ofis | ofisi ofisi 9 | place room
library libraries | kütüphane | maktaba maktaba 9 | place building
station | istasyon | kituo vituo 7 | place building
shop | dükkan | duka maduka 5 | place building shop
mosque | cami | msikiti misikiti 3 | place building
church churches | kilise | kanisa makanisa 5 | place building
island | ada | kisiwa visiwa 7 | place nature
port | liman | bandari bandari 9 | place
hotel | otel | hoteli hoteli 9 | place building
restaurant | lokanta | mgahawa migahawa 3 | place building
factory factories | fabrika | kiwanda viwanda 7 | place building
bank | banka | benki benki 9 | place building
court | mahkeme | mahakama mahakama 9 | place building
prison | hapishane | gereza magereza 5 | place building
question | soru | swali maswali 5 | idea asked
answer | cevap cevab | jibu majibu 5 | idea
word | kelime | neno maneno 5 | idea
problem | sorun | tatizo matatizo 5 | idea
song | şarkı | wimbo nyimbo 11 | idea song
game | oyun | mchezo michezo 3 | idea game
law | kanun | sheria sheria 9 | idea public
meeting | toplantı | mkutano mikutano 3 | idea public
plan | plan | mpango mipango 3 | idea public
Turkish - | Türkçe | Kituruki Kituruki 7 | language
Swahili - | Svahilice | Kiswahili Kiswahili 7 | language
English - | İngilizce | Kiingereza Kiingereza 7 | language
French - | Fransızca | Kifaransa Kifaransa 7 | language
Arabic - | Arapça | Kiarabu Kiarabu 7 | language
"""


@dataclass(frozen=True)
class Noun:
    """A noun in three languages: `tr_stem` is the Turkish stem before a vowel, `sw_class` the class of the singular."""

    en: str
    en_plural: str
    tr: str
    tr_stem: str
    sw: str
    sw_plural: str
    sw_class: int
    kinds: frozenset[str]
    mass: bool

    @property
    def animate(self) -> bool:
        return bool(self.kinds & {"person", "animal"})


def _noun(row: str) -> Noun:
    en, tr, sw, kinds = (cell.split() for cell in row.split("|"))
    mass = en[1:] == ["-"]
    return Noun(
        en=en[0],
        en_plural=en[0] + "s" if len(en) == 1 else en[1],
        tr=tr[0],
        tr_stem=tr[-1],
        sw=sw[0],
        sw_plural=sw[1],
        sw_class=int(sw[2]),
        kinds=frozenset(kinds),
        mass=mass,
    )


@cache
def nouns() -> tuple[Noun, ...]:
    """Return all nouns, in the order of the table."""
    return tuple(_noun(row) for row in _TABLE.strip().splitlines())


@cache
def nouns_of(kinds: str) -> tuple[Noun, ...]:
    """Return the nouns that have at least one of `kinds`, given as one string with spaces between them."""
    wanted = set(kinds.split())
    return tuple(noun for noun in nouns() if noun.kinds & wanted)
