package workload

import (
	"fmt"
	"strings"
	"testing"
)

func TestPeople(t *testing.T) {
	somebody := func(n int) (p person) {
		p.Address.Name, p.Address.Address = fmt.Sprintf("Person %d", n), fmt.Sprintf("person%d@contoso.example", n)
		return p
	}
	if got, want := people([]person{somebody(1)}, nil, []person{somebody(2), {}}), "Person 1 person1@contoso.example, Person 2 person2@contoso.example"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var everybody []person
	for n := range 1000 {
		everybody = append(everybody, somebody(n))
	}
	got := people(everybody)
	if len(got) > maxPeople+100 || !strings.HasSuffix(got, "@contoso.example") || len(strings.Split(got, ", ")) < 40 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
