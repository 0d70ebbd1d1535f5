package graphsim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// language is what a generated text is written in: words, the charset that mail in it came
// in before UTF-8 was everywhere, and who and where its people are.
type language struct {
	tag, charset string
	words        []string
	people
}

// people are the names of a language's contacts.
type people struct {
	given, family []string
	// familyFirst writes the family's name first, without a space.
	familyFirst bool
	// readings are how family and given names sound, where they are written apart.
	readings        map[string]string
	company, street string
	city, country   string
}

func (p people) fullName(given, family string) string {
	if p.familyFirst {
		return family + given
	}
	return given + " " + family
}

// languages are those that TenantSpec.Languages counts from the front; number 0 is the
// mixed prose of a world without it, whose every character GB 18030 has.
var languages = []language{
	{"EN-US", "gb18030", words, people{given: firstNames, family: lastNames}},
	{"DE-DE", "iso-8859-1", strings.Fields(`der die und in den von zu das mit sich für ist nicht ein eine als auch werden Übergabe Geschäftsführung
		Rückmeldung Angebot Prüfung Verträge müssen können nächste Woche Größe Straße Käufer Lieferung Rechnung über Maßnahme fällig`),
		people{given: strings.Fields("Jürgen Käthe Björn Änne Günther Zoë"), family: strings.Fields("Müller Groß Weiß Köhler Schröder Jäger"),
			company: "Bäckerei Süßmäuler GmbH & Co. KG", street: "Große Gäßchen 7", city: "Köln", country: "Deutschland"}},
	{"FR-FR", "windows-1252", strings.Fields(`le la les de du un une et à est pour dans que qui sur avec réunion équipe décision contrat livraison facture
		prévu délai été société où très bientôt cœur œuvre reçu façon élève première année marché coûts €`),
		people{given: strings.Fields("Zoé François Hélène Loïc Anaïs Benoît"), family: strings.Fields("Lefèvre D'Août Bœuf Garçon Noël Châtelain"),
			company: "Société Générale d'Œuvres", street: "12 bis, rue de l'Été", city: "Besançon", country: "France"}},
	{"PL-PL", "iso-8859-2", strings.Fields(`i w na z do nie się to jest że dla od przez spotkanie umowa dostawa faktura pożądany zażółć gęślą jaźń łódź
		wdrożenie płatność późno część źródło święto ćwiczenie śledź`),
		people{given: strings.Fields("Łukasz Żaneta Błażej Świętosława Grażyna Kazimierz"), family: strings.Fields("Wójcik Dąbrowski Źródłowski Święcki Łączny Żak"),
			company: "Żółć i Spółka sp. z o.o.", street: "ul. Świętej Łucji 3", city: "Łódź", country: "Polska"}},
	{"RU-RU", "koi8-r", strings.Fields(`и в не на что с по это как для от мы встреча договор поставка счёт отчёт неделя срок проект решение заказчик
		пожалуйста подтвердите объём бюджета ещё`),
		people{given: strings.Fields("Иван Ольга Фёдор Юлия Дмитрий Наталья"), family: strings.Fields("Королёв Щукин Ильина Цветаева Жуков Ёлкина"),
			company: "ООО Ёлка", street: "ул. Зелёная, д. 5", city: "Орёл", country: "Россия"}},
	{"EL-GR", "iso-8859-7", strings.Fields(`και το να του η για με που από είναι συνάντηση συμφωνία παράδοση τιμολόγιο έργο εβδομάδα προθεσμία απόφαση
		παρακαλώ επιβεβαιώστε ομάδα`),
		people{given: strings.Fields("Γιώργος Ελένη Νίκος Χρύσα Άννα Θανάσης"), family: strings.Fields("Παπαδόπουλος Αγγέλου Ξένος Ψάλτης Ωραιόπουλος Ιωάννου"),
			company: "Αφοί Ψαρράς Α.Ε.", street: "Οδός Ερμού 9", city: "Αθήνα", country: "Ελλάδα"}},
	{"JA-JP", "iso-2022-jp", strings.Fields(`会議 予算 確認 契約 納品 請求書 プロジェクト 来週 締切 決定 お願いします ありがとう 東京 部長 資料 送付 検討 結果 について です ます`),
		people{given: strings.Fields("太郎 花子 健一 美咲 翔太 直樹"), family: strings.Fields("佐藤 鈴木 高橋 渡辺 山本 斎藤"), familyFirst: true,
			readings: map[string]string{"太郎": "たろう", "花子": "はなこ", "健一": "けんいち", "美咲": "みさき", "翔太": "しょうた", "直樹": "なおき",
				"佐藤": "さとう", "鈴木": "すずき", "高橋": "たかはし", "渡辺": "わたなべ", "山本": "やまもと", "斎藤": "さいとう"},
			company: "株式会社サンプル", street: "千代田1丁目2番3号", city: "東京都", country: "日本"}},
	{"ZH-CN", "gbk", strings.Fields(`会议 预算 确认 合同 交货 发票 项目 下周 截止日期 决定 请 谢谢 北京 经理 资料 发送 研究 结果 关于 我们 已经`),
		people{given: strings.Fields("伟 芳 秀英 建国 晓明 丽"), family: strings.Fields("王 李 张 刘 陈 欧阳"), familyFirst: true,
			company: "示例科技有限公司", street: "长安街一号", city: "北京市", country: "中国"}},
	{"KO-KR", "euc-kr", strings.Fields(`회의 예산 확인 계약 납품 청구서 프로젝트 다음주 마감 결정 부탁드립니다 감사합니다 서울 부장 자료 송부 검토 결과 관련하여 우리는`),
		people{given: strings.Fields("민준 서연 지훈 수빈 현우 은지"), family: strings.Fields("김 이 박 최 정 남궁"), familyFirst: true,
			company: "주식회사 보기", street: "세종대로 110", city: "서울특별시", country: "대한민국"}},
}

// maxLanguages is how many TenantSpec.Languages can be.
var maxLanguages = len(languages) - 1

func (l language) sentence(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(pick(r, l.words))
	}
	return b.String()
}

// tongue is what language something with that seed is in, as the tenant's spec says.
func (t *Tenant) tongue(seed uint64) int {
	if n := t.spec.Languages; n > 0 {
		return 1 + int(mix(seed, 'l')%uint64(n))
	}
	return 0
}

// speak gives a seeded message its language and its charset, as the tenant's spec says.
func (b *mailbox) speak(c *mailContent, seed uint64) {
	if c.language = b.t.tongue(seed); c.language > 0 {
		r := newRand(mix(seed, 's'))
		c.subject = languages[c.language].sentence(r, 2+r.IntN(8))
	}
	if mix(seed, 'c')%100 < uint64(b.t.spec.Charsets) {
		c.charset = languages[c.language].charset
	}
}

// encoded is a text in the charset a message has in its MIME form; UTF-8 where it has none,
// or none for that text.
func (c *mailContent) encoded(text string) (charset, bytes string) {
	if c.charset == "" {
		return "utf-8", text
	}
	encoding, err := htmlindex.Get(c.charset)
	if err != nil {
		return "utf-8", text
	}
	out, err := encoding.NewEncoder().String(text)
	if err != nil {
		return "utf-8", text
	}
	return c.charset, out
}

// htmlBody writes a mail body of about the given size in bytes; cid, if any, is shown as an
// inline image.
func (l language) htmlBody(seed uint64, size int, cid string) string {
	r := newRand(seed)
	var b strings.Builder
	b.Grow(size + 512)
	b.WriteString(strings.Replace(htmlHead, "EN-US", l.tag, 1))
	if cid != "" {
		fmt.Fprintf(&b, "<p class=\"MsoNormal\"><img width=\"120\" src=\"cid:%s\"></p>\r\n", cid)
	}
	for b.Len() < size {
		b.WriteString(`<p class="MsoNormal"><span lang="` + l.tag + `">`)
		b.WriteString(l.sentence(r, 12+r.IntN(60)))
		b.WriteString(".</span></p>\r\n")
	}
	b.WriteString("</div></body></html>\r\n")
	return b.String()
}
