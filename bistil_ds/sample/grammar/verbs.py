"""List the verbs: their forms in three languages, and the subjects, objects and places that they take.

A row is  English base [past and participle [and -ing form]] | Turkish stem [stem before a vowel] | Swahili stem | kinds
of subject | kinds of object | traits.
English "look+for" has a prepositional object. Turkish "kork:abl" has its object in the ablative; "ziyaret_et" is a noun
with a light verb. Swahili "fanya_kazi" is a verb with a noun.
The traits are stative (no English progressive); to, in, at, from (may have a place in that role); placed (needs a
place); give (has a recipient); with:TOOL (may be done with that tool); sw=FORM (an irregular Swahili imperative).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

_TABLE = """
read read read | oku | soma | person | text | in
write wrote written | yaz | andika | person | text | in with:pen
buy bought bought | al | nunua | person org | goods livestock | in
sell sold sold | sat | uza | person | goods livestock | in
see saw seen | gör | ona | person | person animal place thing vehicle | stative in
love | sev | penda | person | person pet place language song food | stative
eat ate eaten | ye yi | la | person | food | in with:spoon
drink drank drunk | iç | nywa | person animal | drink | in
cook | pişir | pika | person | cookable | in
wash | yıka | osha | person | dishes vehicle crop | in
carry | taşı | beba | person | thing crop | in
open | aç | fungua | person | opens shop | with:key
close | kapat | funga | person | opens shop |
break broke broken | kır | vunja | person | fragile |
build built built | yap | jenga | person org | built building | in
repair | onar | tengeneza | person | machine furniture built | in
find found found | bul | pata | person | thing livestock wealth | in
lose lost lost | kaybet kaybed | poteza | person | small wealth machine | in
look+for | ara | tafuta | person | small pet person wealth | in
wait+for | bekle | subiri | person | person vehicle | in
listen+to | dinle | sikiliza | person | song tale person | in
want | iste | taka | person | goods drink wealth | stative
help | yardım_et:dat yardım_ed | saidia | person org | person |
visit | ziyaret_et ziyaret_ed | tembelea | person | person place | 
call | çağır | ita | person | person pet |
greet | selamla | salimu | person | person | in
watch | izle | tazama | person | game animal | in
hear heard heard | duy | sikia | person | song person animal idea | stative
catch caught caught | yakala | kamata | person | thief swimmer livestock | in
fear | kork:abl | ogopa | person | wild thief | stative
plant | dik | panda | person | plant crop | in
cut cut cut | kes | kata | person | wood crop cookable | with:sharp
clean | temizle | safisha | person | room home shop dishes furniture | with:broom
draw drew drawn | çiz | chora | person | drawn animal | with:pen
sing sang sung | söyle | imba | person | song | in
understand understood understood | anla | elewa | person | idea text language | stative
remember | hatırla | kumbuka | person | idea person | stative
forget forgot forgotten forgetting | unut | sahau | person | idea small |
learn | öğren | jifunza | person | language | in
speak spoke spoken | konuş | ongea | person | language | in
wear wore worn | giy | vaa | person | clothes |
drive drove driven | sür | endesha | person | vehicle | to
feed fed fed | besle | lisha | person | livestock pet | in
count | say | hesabu | person | livestock small crop |
hold held held | tut | shika | person | small tool |
throw threw thrown | at | tupa | person | thrown | in
steal stole stolen | çal | iba | thief | goods wealth | from
use | kullan | tumia | person org | machine tool |
prepare | hazırla | andaa | person org | brewed cookable public |
choose chose chosen | seç | chagua | person org | goods leader | in
thank | teşekkür_et:dat teşekkür_ed | shukuru | person | person |
welcome | karşıla | karibisha | person | guest person | in
treat | tedavi_et tedavi_ed | tibu | person | patient livestock | in
publish | yayımla | chapisha | org | text drawn |
announce | duyur | tangaza | org | public |
give gave given | ver | pa | person | goods wealth drink | give
show showed shown | göster | onyesha | person | drawn text thing place | give
send sent sent | gönder | tumia | person org | text wealth goods | give
bring brought brought | getir | letea | person | drink food thing | give
ask | sor | uliza | person | asked | give
tell told told | anlat | simulia | person | tale | give
sleep slept slept | uyu | lala | person animal | | in
laugh | gül | cheka | person | | in
cry | ağla | lia | person | | in
run ran run | koş | kimbia | person animal | | to in
walk | yürü | tembea | person | | in
sit sat sat | otur | kaa | person | | in
work | çalış | fanya_kazi | person | | in
come came come | gel | ja | person vehicle | | to from sw=njoo
go went gone | git gid | enda | person vehicle | | to placed sw=nenda
return | dön | rudi | person vehicle | | to from
live | yaşa | ishi | person animal | | in stative placed
swim swam swum | yüz | ogelea | swimmer person | | in
fly flew flown | uç | ruka | flier | | in to
play | oyna | cheza | person | | in
rest | dinlen | pumzika | person animal | | in
fall fell fallen | düş | anguka | person thing | |
arrive | var | fika | person vehicle | | at placed
stay | kal | baki | person | | in
stop | dur | simama | person vehicle | | in
travel | seyahat_et seyahat_ed | safiri | person | | to in
smile | gülümse | tabasamu | person | |
leave left left | ayrıl | ondoka | person vehicle | | from
"""

# Verbs that take another verb as infinitive. The fourth column is the other verb's form in Turkish: "inf" for an
# infinitive, or the case of a verbal noun.
_CONTROL = """
want | iste | taka | inf | stative
like | sev | penda | acc | stative
begin began begun beginning | başla | anza | dat |
try | çalış | jaribu | dat |
forget forgot forgotten forgetting | unut | sahau | acc |
"""

# Verbs that take a clause as complement; the fourth column is the case of that clause in Turkish.
_REPORT = """
say said said | söyle | sema | acc |
think thought thought | düşün | fikiri | acc | stative
know knew known | bil | jua | acc | stative
hear heard heard | duy | sikia | acc | stative
believe | inan | amini | dat | stative
understand understood understood | anla | elewa | acc | stative
remember | hatırla | kumbuka | acc | stative
"""


@dataclass(frozen=True)
class Verb:
    """A verb in three languages. `en` is base, past, participle, -ing; `tr_stem` is the Turkish stem before a vowel."""

    en: tuple[str, str, str, str]
    en_preposition: str
    tr: str
    tr_stem: str
    tr_noun: str
    tr_case: str
    sw: str
    sw_noun: str
    subjects: str
    objects: str
    traits: frozenset[str]

    @property
    def stative(self) -> bool:
        return "stative" in self.traits

    def trait(self, prefix: str) -> str:
        """Return what follows `prefix` in the first trait that starts with it, "" if none does."""
        return next((t[len(prefix) :] for t in sorted(self.traits) if t.startswith(prefix)), "")


def _doubles(base: str) -> bool:
    """Return whether an English verb doubles its last consonant before -ed and -ing.

    It does if its only vowel is the second-last letter, and its last letter is not w, x or y.
    """
    vowels = [c in "aeiou" for c in base]
    return len(base) > 2 and sum(vowels) == 1 and vowels[-2] and base[-1] not in "wxy"


def _english_forms(forms: list[str]) -> tuple[str, str, str, str]:
    base = forms[0]
    stem = base[:-1] if base.endswith("e") else base + base[-1] if _doubles(base) else base
    regular = base[:-1] + "ied" if base[-1] == "y" and base[-2] not in "aeiou" else stem + "ed"
    past, participle = forms[1:3] or (regular, regular)
    return base, past, participle, forms[3] if len(forms) > 3 else stem + "ing"


def _verb(en: str, tr: str, sw: str, subjects: str, objects: str, traits: str) -> Verb:
    forms = en.split()
    forms[0], _, preposition = forms[0].partition("+")
    plain, *softened = tr.split()
    stem, _, case = plain.partition(":")
    sw_stem, _, sw_noun = sw.strip().partition("_")
    noun, _, light = stem.rpartition("_")
    return Verb(
        en=_english_forms(forms),
        en_preposition=preposition,
        tr=light,
        tr_stem=softened[0].split("_")[-1] if softened else light,
        tr_noun=noun,
        tr_case=case or "acc",
        sw=sw_stem,
        sw_noun=sw_noun,
        subjects=subjects.strip(),
        objects=objects.strip(),
        traits=frozenset(traits.split()),
    )


@cache
def verbs() -> tuple[Verb, ...]:
    """Return the verbs of the first table, in its order."""
    return tuple(_verb(*row.split("|")) for row in _TABLE.strip().splitlines())


def _with_case(table: str) -> tuple[tuple[Verb, str], ...]:
    rows = [row.split("|") for row in table.strip().splitlines()]
    return tuple((_verb(en, tr, sw, "person", "", traits), case.strip()) for en, tr, sw, case, traits in rows)


@cache
def control_verbs() -> tuple[tuple[Verb, str], ...]:
    """Return (verb, Turkish form of its infinitive) for each verb like "want" in "wants to read"."""
    return _with_case(_CONTROL)


@cache
def report_verbs() -> tuple[tuple[Verb, str], ...]:
    """Return (verb, Turkish case of the clause) for each verb like "say" in "says that ..."."""
    return _with_case(_REPORT)
