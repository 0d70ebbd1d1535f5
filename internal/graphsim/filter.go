package graphsim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// predicate is a parsed $filter. Its grammar is the part of OData's that Graph
// documents ("Use query parameters", "Advanced query capabilities"):
//
//	or         = and { "or" and }
//	and        = not { "and" not }
//	not        = [ "not" ] primary
//	primary    = "(" or ")" | call | path [ operator literal | "in" "(" literals ")" ]
//	operator   = "eq" | "ne" | "gt" | "ge" | "lt" | "le"
//	call       = ("startsWith" | "endsWith" | "contains") "(" path "," literal ")"
//	path       = name { "/" name } [ "/" ("any" | "all") "(" [ name ":" or ] ")" | "/$count" ]
//	literal    = 'text' | number | true | false | null | instant | guid
type predicate struct {
	op    string // of the grammar; "and", "or", "not", "any", "all", "in", "call", "compare"
	name  string // function, operator or variable
	path  string
	value literal
	list  []literal
	args  []*predicate
}

// literal is a constant: nil, string, bool, float64 or time.Time.
type literal = any

// values gives the value of a property path: nil, string, bool, int64, float64,
// time.Time, or []any of these or of map[string]any. An unknown one is nil.
type values func(path string) any

const (
	// maxFilter bounds a filter's length, maxFilterDepth how deep it nests.
	maxFilter      = 8 << 10
	maxFilterDepth = 32
)

// parseFilter reads a $filter.
func parseFilter(text string) (*predicate, error) {
	if len(text) > maxFilter {
		return nil, fmt.Errorf("the filter is over %d characters", maxFilter)
	}
	tokens, err := scanFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens}
	e, err := p.or()
	if err == nil && p.at < len(p.tokens) {
		err = p.unexpected()
	}
	return e, err
}

// filterToken is a word of a filter; a literal's value stands in value.
type filterToken struct {
	text    string
	at      int
	literal bool
	value   literal
}

func scanFilter(text string) (tokens []filterToken, err error) {
	for i := 0; i < len(text); {
		switch ch := text[i]; {
		case ch == ' ' || ch == '\t':
			i++
		case strings.IndexByte("(),:", ch) >= 0:
			tokens = append(tokens, filterToken{text: string(ch), at: i})
			i++
		case ch == '\'':
			value, length, ok := scanText(text[i:])
			if !ok {
				return nil, fmt.Errorf("the text at position %d does not end", i)
			}
			tokens = append(tokens, filterToken{text: text[i : i+length], at: i, literal: true, value: value})
			i += length
		default:
			end := i + wordLength(text[i:])
			if end == i {
				return nil, fmt.Errorf("unexpected character at position %d", i)
			}
			tokens = append(tokens, wordToken(text[i:end], i))
			i = end
		}
	}
	return tokens, nil
}

// scanText reads 'text', in which a quote is doubled.
func scanText(s string) (value string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// wordLength is how far a name, number or instant goes. A colon belongs to it only
// within an instant, as in 12:30.
func wordLength(s string) int {
	for i := range len(s) {
		ch := s[i]
		letter := ch == '_' || ch == '$' || ch == '/' || ch == '.' || ch == '-' || ch == '+' || ch == '@' ||
			ch >= '0' && ch <= '9' || ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z'
		time := ch == ':' && i > 0 && isDigit(s[i-1]) && i+1 < len(s) && isDigit(s[i+1]) && strings.IndexByte(s[:i], '-') > 0
		if !letter && !time {
			return i
		}
	}
	return len(s)
}

func isDigit(ch byte) bool { return ch >= '0' && ch <= '9' }

func wordToken(word string, at int) filterToken {
	t := filterToken{text: word, at: at, literal: true}
	switch word {
	case "true", "false":
		t.value = word == "true"
		return t
	case "null":
		return t
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if v, err := time.Parse(layout, word); err == nil {
			t.value = v
			return t
		}
	}
	if isDigit(word[0]) || word[0] == '-' {
		if v, err := strconv.ParseFloat(word, 64); err == nil {
			t.value = v
			return t
		}
	}
	if isGUID(word) {
		t.value = word
		return t
	}
	t.literal = false
	return t
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := isDigit(s[i]) || s[i] >= 'a' && s[i] <= 'f' || s[i] >= 'A' && s[i] <= 'F'
		if dash != (s[i] == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// filterParser walks the tokens of a filter.
type filterParser struct {
	tokens []filterToken
	at     int
	depth  int
}

func (p *filterParser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at].text
	}
	return ""
}

// take consumes a word, whose case does not matter, if it comes next.
func (p *filterParser) take(word string) bool {
	if p.at < len(p.tokens) && strings.EqualFold(p.tokens[p.at].text, word) {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) expect(word string) error {
	if p.take(word) {
		return nil
	}
	return p.unexpected()
}

func (p *filterParser) unexpected() error {
	if p.at < len(p.tokens) {
		return fmt.Errorf("syntax error at position %d", p.tokens[p.at].at)
	}
	return fmt.Errorf("syntax error at the end")
}

func (p *filterParser) or() (*predicate, error)  { return p.chain("or", p.and) }
func (p *filterParser) and() (*predicate, error) { return p.chain("and", p.not) }

// chain reads operands joined by a word.
func (p *filterParser) chain(word string, operand func() (*predicate, error)) (*predicate, error) {
	first, err := operand()
	if err != nil || !strings.EqualFold(p.peek(), word) {
		return first, err
	}
	e := &predicate{op: word, args: []*predicate{first}}
	for p.take(word) {
		next, err := operand()
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, next)
	}
	return e, nil
}

func (p *filterParser) not() (*predicate, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, fmt.Errorf("the filter nests deeper than %d", maxFilterDepth)
	}
	defer func() { p.depth-- }()
	if p.take("not") {
		e, err := p.not()
		return &predicate{op: "not", args: []*predicate{e}}, err
	}
	return p.primary()
}

func (p *filterParser) primary() (*predicate, error) {
	if p.take("(") {
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	}
	if p.at >= len(p.tokens) || p.tokens[p.at].literal {
		return nil, p.unexpected()
	}
	word := p.tokens[p.at].text
	p.at++
	switch name := strings.ToLower(word); name {
	case "startswith", "endswith", "contains":
		return p.call(name)
	}
	if path, ok := cutFold(word, "/any"); ok {
		return p.lambda("any", path)
	}
	if path, ok := cutFold(word, "/all"); ok {
		return p.lambda("all", path)
	}
	return p.comparison(word)
}

func cutFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return "", false
}

func (p *filterParser) call(name string) (*predicate, error) {
	e := &predicate{op: "call", name: name}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var err error
	if e.path, err = p.path(); err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	if e.value, err = p.literal(); err != nil {
		return nil, err
	}
	if _, text := e.value.(string); !text {
		return nil, fmt.Errorf("%s needs a text", name)
	}
	return e, p.expect(")")
}

func (p *filterParser) lambda(op, path string) (*predicate, error) {
	e := &predicate{op: op, path: path}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if op == "any" && p.take(")") {
		return e, nil
	}
	var err error
	if e.name, err = p.path(); err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	body, err := p.or()
	if err != nil {
		return nil, err
	}
	e.args = []*predicate{body}
	return e, p.expect(")")
}

func (p *filterParser) comparison(path string) (*predicate, error) {
	e := &predicate{op: "compare", name: strings.ToLower(p.peek()), path: path}
	switch e.name {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.at++
		var err error
		e.value, err = p.literal()
		return e, err
	case "in":
		p.at++
		e.op = "in"
		return e, p.literals(e)
	}
	// A boolean property alone is a condition.
	e.name, e.value = "eq", true
	return e, nil
}

func (p *filterParser) literals(e *predicate) error {
	if err := p.expect("("); err != nil {
		return err
	}
	for {
		v, err := p.literal()
		if err != nil {
			return err
		}
		e.list = append(e.list, v)
		if !p.take(",") {
			return p.expect(")")
		}
	}
}

func (p *filterParser) path() (string, error) {
	if p.at >= len(p.tokens) || p.tokens[p.at].literal || strings.Contains("(),:", p.tokens[p.at].text) {
		return "", p.unexpected()
	}
	p.at++
	return p.tokens[p.at-1].text, nil
}

func (p *filterParser) literal() (literal, error) {
	if p.at >= len(p.tokens) || !p.tokens[p.at].literal {
		return nil, p.unexpected()
	}
	p.at++
	return p.tokens[p.at-1].value, nil
}

// walk visits every condition, with the path below the entity itself: that of a
// condition inside any or all begins with the path of the collection.
func (e *predicate) walk(visit func(e *predicate, path string)) {
	if e == nil {
		return
	}
	visit(e, e.path)
	for _, arg := range e.args {
		arg.walk(func(inner *predicate, path string) {
			if e.op == "any" || e.op == "all" {
				path = strings.TrimSuffix(e.path+"/"+strings.TrimPrefix(strings.TrimPrefix(path, e.name), "/"), "/")
			}
			visit(inner, path)
		})
	}
}
