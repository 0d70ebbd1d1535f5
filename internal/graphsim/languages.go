package graphsim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// language is what a message is written in: words, and the charset that mail in it came in
// before UTF-8 was everywhere.
type language struct {
	tag, charset string
	words        []string
}

// languages are those that TenantSpec.Languages counts from the front; number 0 is the
// mixed prose of a world without it, whose every character GB 18030 has.
var languages = []language{
	{"EN-US", "gb18030", words},
	{"DE-DE", "iso-8859-1", strings.Fields(`der die und in den von zu das mit sich für ist nicht ein eine als auch werden Übergabe Geschäftsführung
		Rückmeldung Angebot Prüfung Verträge müssen können nächste Woche Größe Straße Käufer Lieferung Rechnung über Maßnahme fällig`)},
	{"FR-FR", "windows-1252", strings.Fields(`le la les de du un une et à est pour dans que qui sur avec réunion équipe décision contrat livraison facture
		prévu délai été société où très bientôt cœur œuvre reçu façon élève première année marché coûts €`)},
	{"PL-PL", "iso-8859-2", strings.Fields(`i w na z do nie się to jest że dla od przez spotkanie umowa dostawa faktura pożądany zażółć gęślą jaźń łódź
		wdrożenie płatność późno część źródło święto ćwiczenie śledź`)},
	{"RU-RU", "koi8-r", strings.Fields(`и в не на что с по это как для от мы встреча договор поставка счёт отчёт неделя срок проект решение заказчик
		пожалуйста подтвердите объём бюджета ещё`)},
	{"EL-GR", "iso-8859-7", strings.Fields(`και το να του η για με που από είναι συνάντηση συμφωνία παράδοση τιμολόγιο έργο εβδομάδα προθεσμία απόφαση
		παρακαλώ επιβεβαιώστε ομάδα`)},
	{"JA-JP", "iso-2022-jp", strings.Fields(`会議 予算 確認 契約 納品 請求書 プロジェクト 来週 締切 決定 お願いします ありがとう 東京 部長 資料 送付 検討 結果 について です ます`)},
	{"ZH-CN", "gbk", strings.Fields(`会议 预算 确认 合同 交货 发票 项目 下周 截止日期 决定 请 谢谢 北京 经理 资料 发送 研究 结果 关于 我们 已经`)},
	{"KO-KR", "euc-kr", strings.Fields(`회의 예산 확인 계약 납품 청구서 프로젝트 다음주 마감 결정 부탁드립니다 감사합니다 서울 부장 자료 송부 검토 결과 관련하여 우리는`)},
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

// speak gives a seeded message its language and its charset, as the tenant's spec says.
func (b *mailbox) speak(c *mailContent, seed uint64) {
	if n := b.t.spec.Languages; n > 0 {
		c.language = 1 + int(mix(seed, 'l')%uint64(n))
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
