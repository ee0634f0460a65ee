package engine

import "strings"

// A word is an unquoted identifier, keyword or number.
type word struct {
	text       string // upper case
	start, end int
	depth      int  // of parentheses around it
	afterDot   bool // the second half of a qualified name
	others     int  // tokens that are no words seen before it, ';' not counted
}

// A scanner walks SQL text just far enough to tell words from quotes, comments
// and punctuation. It never fails: text that is not SQL yields some words, and
// the engine reports the syntax error.
type scanner struct {
	sql    string
	pos    int
	depth  int
	dot    bool
	others int
	semi   bool // a ';' was passed
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// next returns the next word, and false at the end of the text.
func (s *scanner) next() (word, bool) {
	for s.pos < len(s.sql) {
		c := s.sql[s.pos]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			s.pos++
			continue
		case s.skipComment():
			continue
		case c == ';':
			s.semi = true
			s.pos++
			continue
		case wordByte(c):
			start := s.pos
			for s.pos < len(s.sql) && wordByte(s.sql[s.pos]) {
				s.pos++
			}
			w := word{strings.ToUpper(s.sql[start:s.pos]), start, s.pos, s.depth, s.dot, s.others}
			s.dot = false
			return w, true
		case c == '\'' || c == '"' || c == '`':
			s.skipQuoted(c)
		case c == '$' && s.skipHeredoc():
		case c == '(' || c == '[' || c == '{':
			s.depth++
			s.pos++
		case c == ')' || c == ']' || c == '}':
			s.depth = max(s.depth-1, 0)
			s.pos++
		default:
			s.pos++
		}
		s.others++
		s.dot = c == '.'
	}
	return word{}, false
}

// nextOutside is next without the words inside parentheses.
func (s *scanner) nextOutside() (word, bool) {
	for {
		if w, ok := s.next(); !ok || w.depth == 0 {
			return w, ok
		}
	}
}

func (s *scanner) skipComment() bool {
	rest := s.sql[s.pos:]
	switch {
	case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
		if at := strings.IndexByte(rest, '\n'); at >= 0 {
			s.pos += at + 1
		} else {
			s.pos = len(s.sql)
		}
	case strings.HasPrefix(rest, "/*"):
		if at := strings.Index(rest[2:], "*/"); at >= 0 {
			s.pos += at + 4
		} else {
			s.pos = len(s.sql)
		}
	default:
		return false
	}
	return true
}

func (s *scanner) skipQuoted(quote byte) {
	for s.pos++; s.pos < len(s.sql); s.pos++ {
		switch s.sql[s.pos] {
		case '\\':
			s.pos++
		case quote:
			s.pos++
			return // a doubled quote opens the next quoted piece right here
		}
	}
	s.pos = min(s.pos, len(s.sql))
}

// skipHeredoc skips $tag$ ... $tag$.
func (s *scanner) skipHeredoc() bool {
	end := s.pos + 1
	for end < len(s.sql) && wordByte(s.sql[end]) {
		end++
	}
	if end >= len(s.sql) || s.sql[end] != '$' {
		return false
	}
	tag := s.sql[s.pos : end+1]
	at := strings.Index(s.sql[end+1:], tag)
	if at < 0 {
		return false
	}
	s.pos = end + 1 + at + len(tag)
	return true
}

// verb is the statement's first word in upper case, parentheses passed over.
func verb(sql string) string {
	w, _ := (&scanner{sql: sql}).next()
	return w.text
}

// emptyStatement is text of white space, comments and semicolons only.
func emptyStatement(sql string) bool {
	s := &scanner{sql: sql}
	_, ok := s.next()
	return !ok && s.others == 0
}

// An insertStatement is an INSERT whose rows follow as data.
type insertStatement struct {
	head   string // up to, not including, the FORMAT or VALUES clause
	format string
	inline string // data that follows the clause in the text itself
}

// splitInsert takes the FORMAT clause off an INSERT, so that the rows can go to
// the engine apart from the text: a ';' byte in them must not end a statement.
// It reports false for every other statement: no INSERT, INSERT ... SELECT,
// VALUES with its rows in the text, FROM INFILE.
func splitInsert(sql string) (insertStatement, bool) {
	s := &scanner{sql: sql}
	w, _ := s.next()
	if w.text != "INSERT" || w.depth > 0 {
		return insertStatement{}, false
	}
	for {
		previous := w.text
		var ok bool
		if w, ok = s.nextOutside(); !ok || s.semi {
			return insertStatement{}, false
		}
		// A table may be called like a keyword.
		if w.afterDot || previous == "INTO" && w.text != "TABLE" && w.text != "FUNCTION" || previous == "TABLE" || previous == "FUNCTION" {
			w.text = ""
			continue
		}
		switch w.text {
		case "SELECT", "WITH", "FROM", "WATCH":
			return insertStatement{}, false
		case "VALUES":
			if strings.TrimSpace(sql[w.end:]) != "" {
				return insertStatement{}, false
			}
			return insertStatement{head: sql[:w.start], format: "Values"}, true
		case "FORMAT":
			f, ok := s.next()
			if !ok || s.semi || f.others != w.others {
				return insertStatement{}, false
			}
			return insertStatement{head: sql[:w.start], format: sql[f.start:f.end], inline: inlineData(sql[f.end:])}, true
		}
	}
}

// inlineData is what follows FORMAT Name: blanks and one line end belong to
// the clause, everything after them is data.
func inlineData(rest string) string {
	rest = strings.TrimLeft(rest, " \t\r")
	return strings.TrimPrefix(rest, "\n")
}

// outputFormat is the format named by a FORMAT clause at the end of a
// statement, "" without one.
func outputFormat(sql string) string {
	s := &scanner{sql: sql}
	var keyword, name *word
	for {
		w, ok := s.nextOutside()
		if !ok {
			break
		}
		switch {
		case keyword != nil && name == nil && w.others == keyword.others:
			name = &w
			continue
		case name != nil && w.text == "SETTINGS" && w.others == name.others:
			return sql[name.start:name.end]
		}
		keyword, name = nil, nil // the word FORMAT was a name after all
		if w.text == "FORMAT" && !w.afterDot {
			keyword = &w
		}
	}
	if name == nil || s.others != name.others {
		return ""
	}
	return sql[name.start:name.end]
}
