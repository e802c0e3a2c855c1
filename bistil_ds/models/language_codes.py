"""Turn language codes of three letters into those of two: `hau` into `ha`."""

from __future__ import annotations

# Pairs: ISO 639-3 (or 639-2) code, ISO 639-1 code. Languages are those of common multilingual models and task data.
_PAIRS = """
afr af  aka ak  sqi sq  alb sq  amh am  ara ar  arb ar  arg an  asm as  aze az  azj az  bak ba  bam bm  bel be  ben bn
bos bs  bre br  bul bg  mya my  bur my  cat ca  che ce  chv cv  ces cs  cze cs  cmn zh  zho zh  chi zh  cym cy  wel cy
dan da  deu de  ger de  ell el  gre el  eng en  epo eo  est et  eus eu  baq eu  ewe ee  fao fo  fas fa  per fa  pes fa
fin fi  fra fr  fre fr  fry fy  ful ff  gla gd  gle ga  glg gl  grn gn  guj gu  hat ht  hau ha  heb he  hin hi  hrv hr
hun hu  hye hy  arm hy  ibo ig  ido io  ind id  isl is  ice is  ita it  jav jv  jpn ja  kan kn  kat ka  geo ka  kaz kk
khm km  kik ki  kin rw  kir ky  kor ko  kur ku  kmr ku  lao lo  lat la  lav lv  lvs lv  lin ln  lit lt  ltz lb  lug lg
mal ml  mar mr  mkd mk  mac mk  mlg mg  plt mg  mlt mt  mon mn  khk mn  msa ms  may ms  zsm ms  nep ne  npi ne  nld nl
dut nl  nno nn  nob nb  nor no  nya ny  oci oc  ori or  ory or  orm om  gaz om  pan pa  pol pl  por pt  pus ps  pbt ps
que qu  quy qu  ron ro  rum ro  run rn  rus ru  san sa  sin si  slk sk  slo sk  slv sl  sna sn  snd sd  som so  sot st
spa es  srp sr  sun su  swa sw  swh sw  swe sv  tam ta  tat tt  tel te  tgk tg  tgl tl  tha th  tir ti  tsn tn  tso ts
tuk tk  tur tr  twi tw  uig ug  ukr uk  urd ur  uzb uz  uzn uz  vie vi  vol vo  wln wa  wol wo  xho xh  yid yi  ydd yi
yor yo  zul zu  bod bo  tib bo
"""
_SHORT = dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True))


def bare_language(code: str) -> str:
    """Return a code without script and region, and with two letters if there is such a code: `zh` for `zho-Hant`."""
    first = code.lower().replace("_", "-").partition("-")[0]
    return _SHORT.get(first, first)
