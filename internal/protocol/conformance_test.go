package protocol

import (
	"encoding/json"
	"os"
	"testing"
)

func TestCloseCodesHaveTheVerdictsThatAllClientsShare(t *testing.T) {
	text, err := os.ReadFile("testdata/conformance.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		CloseCodes []struct {
			Code    uint16
			Verdict string
		} `json:"close_codes"`
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.CloseCodes) == 0 {
		t.Fatal("the table has no close codes")
	}
	for _, row := range table.CloseCodes {
		if got := Retry(row.Code).String(); got != row.Verdict {
			t.Errorf("%d: %s, the table says %s", row.Code, got, row.Verdict)
		}
	}
}
