package faulttest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

const (
	// secret signs the tokens of a run.
	secret = "of the fault tests, and nobody has to keep it"
	// tokenLife is longer than any run.
	tokenLife = 24 * time.Hour
)

// token is one of a user, by HS256, with an id unless that is empty.
func token(user, id string) string {
	now := time.Now()
	claims := fmt.Sprintf(`{"sub":%q,"jti":%q,"iat":%d,"exp":%d}`, user, id, now.Unix(), now.Add(tokenLife).Unix())
	if id == "" {
		claims = fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, now.Unix(), now.Add(tokenLife).Unix())
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
