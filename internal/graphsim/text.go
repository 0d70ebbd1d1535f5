package graphsim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// words is what generated texts are made of: ordinary business prose, with some
// words outside ASCII so that encodings are exercised everywhere.
var words = strings.Fields(`the of and to in a is that for it as was with be by on not he his but at are this
have from or had an they which one you were all her she there would their we him been has when who will no more
if out so up said what its about than into them can only other time new some could these two may first then do any
like my now over such our man me even most made after also did many off before must well back through years much
where your way down should because long each just state those people too mr how little good world make very year
still see own work men day get here between both under never know same last another while us might great go come
since against right came take used himself few house use place during high without again home around small however
found thought part school general once number always invoice quarter forecast contract shipment meeting agenda
budget deadline customer supplier delivery quotation approval signature attached schedule review department
headquarters warehouse Müller Ångström café naïve résumé señor Zürich København пожалуйста спасибо 会議 予算 確認
プロジェクト 合同 发票 회의 ελληνικά Łódź Übergabe façade übermorgen 🚀 ✓ €1,250.00 §12 “quoted” — …`)

var firstNames = strings.Fields(`Ann Bob Carla Dmitri Eva Farid Grete Hiro Ines Jörg Katya Liam Mei Nils Olga Pál
Qiang Rosa Søren Tara Uwe Vera Wim Xenia Yusuf Zoë Amir Brigid Chloé Dong`)

var lastNames = strings.Fields(`Abel Baker Christensen Dvořák Eriksson Fischer García Haddad Ivanova Jansen
Kowalski Lindqvist Moreau Nakamura O'Brien Petrov Quist Rossi Schäfer Tanaka Ulrich Vásquez Weber Xu Yılmaz Zhang`)

// person returns the i-th invented person of a tenant: a display name and an
// ASCII mailbox alias that is unique by its number.
func person(seed uint64, i int) (name, alias string) {
	r := newRand(mix(seed, uint64(i)))
	first, last := pick(r, firstNames), pick(r, lastNames)
	return first + " " + last, fmt.Sprintf("%s.%s%d", ascii(first), ascii(last), i+1)
}

func ascii(s string) string {
	return strings.ToLower(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, s))
}

func sentence(r *rand.Rand, n int) string { return languages[0].sentence(r, n) }

const htmlHead = `<html><head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8"><meta name="Generator" content="Microsoft Word 15 (filtered medium)"><style><!--
@font-face {font-family:"Cambria Math"; panose-1:2 4 5 3 5 4 6 3 2 4;}
@font-face {font-family:Calibri; panose-1:2 15 5 2 2 2 4 3 2 4;}
p.MsoNormal, li.MsoNormal, div.MsoNormal {margin:0cm; font-size:11.0pt; font-family:"Calibri",sans-serif;}
a:link, span.MsoHyperlink {mso-style-priority:99; color:#0563C1; text-decoration:underline;}
span.EmailStyle17 {mso-style-type:personal-compose; font-family:"Calibri",sans-serif; color:windowtext;}
.MsoChpDefault {mso-style-type:export-only; font-family:"Calibri",sans-serif;}
@page WordSection1 {size:612.0pt 792.0pt; margin:70.85pt 70.85pt 2.0cm 70.85pt;}
div.WordSection1 {page:WordSection1;}
--></style></head><body lang="EN-US" link="#0563C1" vlink="#954F72"><div class="WordSection1">
`
