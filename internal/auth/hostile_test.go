package auth

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Whoever has the secret signed those of the second part of the table: a valid
// signature does not make wrong claims right.
func TestHostileTokensAreRefused(t *testing.T) {
	v, _ := secretVerifier(t)
	valid := raw(hs256, good(""))
	if _, err := v.Verify(valid); err != nil {
		t.Fatalf("the token that the table is made from: %v", err)
	}
	parts := strings.Split(valid, ".")
	now := time.Now()
	claims := func(text string) string { return raw(hs256, text) }
	for name, tt := range map[string]struct {
		token string
		want  metrics.TokenRefusal
	}{
		"empty":                    {"", metrics.TokenMalformed},
		"one dot":                  {"a.b", metrics.TokenMalformed},
		"two dots alone":           {"..", metrics.TokenMalformed},
		"no header":                {"." + parts[1] + "." + parts[2], metrics.TokenMalformed},
		"no claims":                {parts[0] + ".." + parts[2], metrics.TokenMalformed},
		"no signature":             {parts[0] + "." + parts[1] + ".", metrics.TokenMalformed},
		"no signature and no dot":  {parts[0] + "." + parts[1], metrics.TokenMalformed},
		"a fourth part":            {valid + ".x", metrics.TokenMalformed},
		"five parts, a JWE":        {"a.b.c.d.e", metrics.TokenMalformed},
		"a flood of dots":          {strings.Repeat(".", MaxToken), metrics.TokenMalformed},
		"100 KB":                   {strings.Repeat("a", 100<<10), metrics.TokenTooLong},
		"100 KB of dots":           {strings.Repeat(".", 100<<10), metrics.TokenTooLong},
		"one byte too long":        {valid + strings.Repeat("A", MaxToken+1-len(valid)), metrics.TokenTooLong},
		"trailing garbage":         {valid + "!", metrics.TokenMalformed},
		"trailing space":           {valid + " ", metrics.TokenMalformed},
		"trailing newline":         {valid + "\n", metrics.TokenMalformed},
		"a newline within":         {parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2], metrics.TokenMalformed},
		"Bearer before it":         {"Bearer " + valid, metrics.TokenMalformed},
		"padding":                  {parts[0] + "." + parts[1] + "." + parts[2] + "=", metrics.TokenMalformed},
		"base64 and not base64url": {parts[0] + "." + parts[1] + ".++//", metrics.TokenMalformed},
		"base64 of a wrong length": {parts[0] + "." + parts[1] + "." + parts[2][:41], metrics.TokenMalformed},
		"bits left over":           {parts[0] + "." + parts[1] + "." + leftover(parts[2]), metrics.TokenMalformed},
		"NUL":                      {valid + "\x00", metrics.TokenMalformed},
		"not UTF-8":                {"\xff\xfe." + parts[1] + "." + parts[2], metrics.TokenMalformed},

		"header of no JSON":           {raw("nonsense", good("")), metrics.TokenMalformed},
		"header of null":              {raw("null", good("")), metrics.TokenMalformed},
		"header of a list":            {raw("[]", good("")), metrics.TokenMalformed},
		"header with more behind":     {raw(hs256+hs256, good("")), metrics.TokenMalformed},
		"header with alg twice":       {raw(`{"alg":"none","alg":"HS256"}`, good("")), metrics.TokenMalformed},
		"header with alg escaped":     {raw(`{"alg":"none","\u0061lg":"HS256"}`, good("")), metrics.TokenMalformed},
		"header with a name twice":    {raw(`{"alg":"HS256","x":1,"x":2}`, good("")), metrics.TokenMalformed},
		"header with kid of a number": {raw(`{"alg":"HS256","kid":7}`, good("")), metrics.TokenMalformed},
		"header with crit":            {raw(`{"alg":"HS256","crit":["b64"],"b64":false}`, good("")), metrics.TokenMalformed},
		"header with an empty crit":   {raw(`{"alg":"HS256","crit":[]}`, good("")), metrics.TokenMalformed},
		"alg of a list":               {raw(`{"alg":["HS256"]}`, good("")), metrics.TokenMalformed},
		"no alg":                      {raw(`{"typ":"JWT"}`, good("")), metrics.TokenAlgorithm},
		"ALG":                         {raw(`{"ALG":"HS256"}`, good("")), metrics.TokenAlgorithm},
		"alg none":                    {raw(`{"alg":"none"}`, good("")), metrics.TokenAlgorithm},
		"alg none, unsigned":          {encode(`{"alg":"none"}`) + "." + parts[1] + ".", metrics.TokenMalformed},
		"alg None":                    {raw(`{"alg":"None"}`, good("")), metrics.TokenAlgorithm},
		"alg NONE":                    {raw(`{"alg":"NONE"}`, good("")), metrics.TokenAlgorithm},
		"alg nOnE":                    {raw(`{"alg":"nOnE"}`, good("")), metrics.TokenAlgorithm},
		"alg none and a space":        {raw(`{"alg":"none "}`, good("")), metrics.TokenAlgorithm},
		"alg none by an escape":       {raw(`{"alg":"\u006eone"}`, good("")), metrics.TokenAlgorithm},
		"alg empty":                   {raw(`{"alg":""}`, good("")), metrics.TokenAlgorithm},
		"alg hs256":                   {raw(`{"alg":"hs256"}`, good("")), metrics.TokenAlgorithm},
		"alg HS384":                   {raw(`{"alg":"HS384"}`, good("")), metrics.TokenAlgorithm},
		"alg of no configured key":    {raw(`{"alg":"RS256"}`, good("")), metrics.TokenAlgorithm},

		"another secret":      {rawWith(strings.Repeat("x", 32), hs256, good("")), metrics.TokenSignature},
		"an empty secret":     {rawWith("", hs256, good("")), metrics.TokenSignature},
		"a changed claim":     {parts[0] + "." + encode(good(`,"rooms":{"*":["join"]}`)) + "." + parts[2], metrics.TokenSignature},
		"a changed header":    {encode(`{"alg":"HS256"}`) + "." + parts[1] + "." + parts[2], metrics.TokenSignature},
		"a short signature":   {parts[0] + "." + parts[1] + "." + parts[2][:40], metrics.TokenSignature},
		"a kid that is a way": {rawWith("", `{"alg":"HS256","kid":"../../../../dev/null"}`, good("")), metrics.TokenSignature},
		"a kid that is SQL":   {rawWith("x", `{"alg":"HS256","kid":"' UNION SELECT 'x"}`, good("")), metrics.TokenSignature},
		"a key in the header": {rawWith("x", `{"alg":"HS256","jwk":{"kty":"oct","k":"eA"},"jku":"https://evil/","x5u":"https://evil/"}`, good("")), metrics.TokenSignature},

		"claims of no JSON":       {claims("nonsense"), metrics.TokenClaims},
		"claims of null":          {claims("null"), metrics.TokenClaims},
		"claims of a list":        {claims("[]"), metrics.TokenClaims},
		"claims with more behind": {claims(good("") + "{}"), metrics.TokenClaims},
		"a claim twice":           {claims(good(`,"sub":"root"`)), metrics.TokenClaims},
		"a claim twice, escaped":  {claims(good(`,"\u0073ub":"root"`)), metrics.TokenClaims},
		"another claim twice":     {claims(good(`,"x":1,"x":2`)), metrics.TokenClaims},
		"a claim twice, deep":     {claims(good(`,"x":{"y":[{"z":1,"z":2}]}`)), metrics.TokenClaims},
		"claims not of UTF-8":     {claims(good(",\"x\":\"\xff\"")), metrics.TokenClaims},
		"claims nested deep":      {claims(good(`,"x":` + strings.Repeat("[", 5000))), metrics.TokenClaims},
		"no sub":                  {claims(expiring("")), metrics.TokenClaims},
		"sub empty":               {claims(expiring(`"sub":""`)), metrics.TokenClaims},
		"sub null":                {claims(expiring(`"sub":null`)), metrics.TokenClaims},
		"sub of a number":         {claims(expiring(`"sub":7`)), metrics.TokenClaims},
		"sub of nested lists":     {claims(expiring(`"sub":[[["ada"]]]`)), metrics.TokenClaims},
		"sub of an object":        {claims(expiring(`"sub":{"$ne":""}`)), metrics.TokenClaims},
		"sub that is no name":     {claims(expiring(`"sub":"<script>"`)), metrics.TokenClaims},
		"sub with a line's end":   {claims(expiring(`"sub":"a\nb"`)), metrics.TokenClaims},
		"sub too long":            {claims(expiring(`"sub":"` + strings.Repeat("a", 65) + `"`)), metrics.TokenClaims},
		"SUB":                     {claims(expiring(`"SUB":"ada"`)), metrics.TokenClaims},
		"jti of a number":         {claims(good(`,"jti":7`)), metrics.TokenClaims},
		"jti too long":            {claims(good(`,"jti":"` + strings.Repeat("a", 257) + `"`)), metrics.TokenClaims},

		"no exp":                {claims(`{"sub":"ada"}`), metrics.TokenClaims},
		"exp null":              {claims(`{"sub":"ada","exp":null}`), metrics.TokenClaims},
		"exp of a text":         {claims(fmt.Sprintf(`{"sub":"ada","exp":"%d"}`, now.Unix()+60)), metrics.TokenClaims},
		"exp of a list":         {claims(`{"sub":"ada","exp":[9999999999]}`), metrics.TokenClaims},
		"exp true":              {claims(`{"sub":"ada","exp":true}`), metrics.TokenClaims},
		"exp negative":          {claims(`{"sub":"ada","exp":-1}`), metrics.TokenClaims},
		"exp zero":              {claims(`{"sub":"ada","exp":0}`), metrics.TokenExpired},
		"exp past":              {claims(fmt.Sprintf(`{"sub":"ada","exp":%d}`, now.Unix()-6)), metrics.TokenExpired},
		"exp past, a fraction":  {claims(fmt.Sprintf(`{"sub":"ada","exp":%d.75}`, now.Unix()-7)), metrics.TokenExpired},
		"exp huge":              {claims(`{"sub":"ada","exp":99999999999999999999}`), metrics.TokenClaims},
		"exp of 64 bits":        {claims(`{"sub":"ada","exp":9223372036854775807}`), metrics.TokenClaims},
		"exp in milliseconds":   {claims(fmt.Sprintf(`{"sub":"ada","exp":%d}`, now.UnixMilli())), metrics.TokenClaims},
		"exp beyond any float":  {claims(`{"sub":"ada","exp":1e400}`), metrics.TokenClaims},
		"exp NaN":               {claims(`{"sub":"ada","exp":NaN}`), metrics.TokenClaims},
		"nbf ahead":             {claims(good(fmt.Sprintf(`,"nbf":%d`, now.Unix()+60))), metrics.TokenNotYet},
		"nbf huge":              {claims(good(`,"nbf":1e300`)), metrics.TokenClaims},
		"nbf the last second":   {claims(good(`,"nbf":253402300799`)), metrics.TokenNotYet},
		"nbf of a text":         {claims(good(`,"nbf":"0"`)), metrics.TokenClaims},
		"iat ahead":             {claims(good(fmt.Sprintf(`,"iat":%d`, now.Unix()+60))), metrics.TokenNotYet},
		"iat of a text":         {claims(good(`,"iat":"now"`)), metrics.TokenClaims},
		"aud of a number":       {claims(good(`,"aud":7`)), metrics.TokenClaims},
		"aud of nested lists":   {claims(good(`,"aud":[["x"]]`)), metrics.TokenClaims},
		"iss of a list":         {claims(good(`,"iss":["x"]`)), metrics.TokenClaims},
		"rooms of a text":       {claims(good(`,"rooms":"*"`)), metrics.TokenClaims},
		"rooms of a list":       {claims(good(`,"rooms":["lobby"]`)), metrics.TokenClaims},
		"rooms null":            {claims(good(`,"rooms":null`)), metrics.TokenClaims},
		"rooms with a text":     {claims(good(`,"rooms":{"lobby":"join"}`)), metrics.TokenClaims},
		"rooms with a number":   {claims(good(`,"rooms":{"lobby":[1]}`)), metrics.TokenClaims},
		"rooms with null":       {claims(good(`,"rooms":{"lobby":null}`)), metrics.TokenClaims},
		"rooms with one twice":  {claims(good(`,"rooms":{"a":["join"],"a":[]}`)), metrics.TokenClaims},
		"rooms with a constant": {claims(good(`,"rooms":{"__proto__":true}`)), metrics.TokenClaims},
	} {
		t.Run(name, func(t *testing.T) { wantRefused(t, v, tt.token, tt.want) })
	}
}

// expiring are claims with an exp that is good.
func expiring(more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// leftover is another text for the same bytes, whose last character has bits
// that none of them takes.
func leftover(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, signature[len(signature)-1])
	other := signature[:len(signature)-1] + alphabet[last^1:last^1+1]
	if _, err := base64.RawURLEncoding.DecodeString(other); err != nil {
		panic(err)
	}
	return other
}

// What is no token costs nothing, and an unknown algorithm only its header.
func TestHostileTokensAreRefusedBeforeAnythingIsAllocated(t *testing.T) {
	v, _ := secretVerifier(t)
	for name, token := range map[string]string{
		"100 KB":                       strings.Repeat("a.b", 100<<10/3),
		"a flood of dots":              strings.Repeat(".", MaxToken),
		"no dot":                       strings.Repeat("a", MaxToken),
		"four parts":                   "a.b.c.d",
		"an empty part":                "aaaa..aaaa",
		"bad base64":                   "aaaa.bbb!.cccc",
		"a length that base64 has not": "aaaa.b." + strings.Repeat("c", 4000),
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(token) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	unsigned := encode(`{"alg":"none"}`) + "." + strings.Repeat("A", 8000) + ".AAAA"
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(unsigned) }); n > 4 {
		t.Errorf("alg none: %v allocations", n)
	}
}

func TestRefusalsAreCountedByTheirReason(t *testing.T) {
	v, set := secretVerifier(t)
	for _, token := range []string{"", "", strings.Repeat("a", MaxToken+1), raw(hs256, `{"sub":"ada","exp":1}`), raw(hs256, good(""))} {
		_, _ = v.Verify(token)
	}
	page := scrape(t, set)
	for _, line := range []string{
		`fanfare_token_refused_total{reason="malformed"} 2`, `fanfare_token_refused_total{reason="too_long"} 1`,
		`fanfare_token_refused_total{reason="expired"} 1`, `fanfare_token_refused_total{reason="signature"} 0`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// FuzzVerify: no token crashes it, and none verifies but what has the signature
// of the secret, by a reading of its own.
func FuzzVerify(f *testing.F) {
	v, _ := secretVerifier(f)
	for _, token := range []string{
		raw(hs256, `{"sub":"ada","exp":9999999999}`), raw(hs256, `{"sub":"ada","exp":9999999999,"rooms":{"a*":["join"]},"aud":["x"],"jti":"1"}`),
		raw(`{"alg":"none"}`, good("")), raw(`{"alg":"HS256","kid":"x","crit":[]}`, "{}"), "a.b.c", "..", "",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(token)
		if (err == nil) != (id != nil) {
			t.Fatalf("%v and %v", id, err)
		}
		if _, ok := RefusalOf(err); err != nil && !ok {
			t.Fatalf("an error without a reason: %v", err)
		}
		if err != nil {
			return
		}
		parts := strings.Split(token, ".")
		header, errH := base64.RawURLEncoding.DecodeString(parts[0])
		claims, errC := base64.RawURLEncoding.DecodeString(parts[1])
		if errH != nil || errC != nil || len(parts) != 3 || raw(string(header), string(claims)) != token {
			t.Fatalf("%q verified", token)
		}
	})
}

// FuzzClaims: what has the right signature may have any claims and header.
func FuzzClaims(f *testing.F) {
	v, _ := secretVerifier(f)
	f.Add(hs256, `{"sub":"ada","exp":9999999999,"iat":1.5,"rooms":{"a*":["join"],"":[]}}`)
	f.Add(`{"alg":"HS256","kid":"\ud800"}`, `{"sub":"\u0000","exp":1e5}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		id, err := v.Verify(raw(header, claims))
		if err != nil {
			return
		}
		if id.User == "" || id.Expires.Before(time.Now().Add(-time.Minute)) {
			t.Fatalf("%s verified as %+v", claims, id)
		}
		if len(id.Grants) == 0 && strings.Contains(claims, `"rooms":{"`) && id.Grants == nil {
			t.Fatalf("%s: no grants", claims)
		}
	})
}
