package graph

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	kiotahttp "github.com/microsoft/kiota-http-go"
	kiotajson "github.com/microsoft/kiota-serialization-json-go"
	"github.com/microsoftgraph/msgraph-sdk-go/drives"
	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/sites"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// builders are the SDK's request builders, rooted at this cloud. They are used
// to build requests only; each call makes fresh ones, because builders that are
// shared mutate shared state.
type builders struct {
	base    string
	adapter *kiotahttp.NetHttpRequestAdapter
}

func newBuilders(at endpoints) (builders, error) {
	// No authentication here: the token goes in when a request goes out, so that
	// a second try carries a second token. Nothing is sent through the adapter.
	adapter, err := kiotahttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		&authentication.AnonymousAuthenticationProvider{}, kiotajson.NewJsonParseNodeFactory(),
		kiotajson.NewJsonSerializationWriterFactory(), &http.Client{})
	if err != nil {
		return builders{}, tenantry.E(tenantry.Internal, "build the request adapter", err)
	}
	return builders{base: at.graph.String(), adapter: adapter}, nil
}

func (b builders) root() map[string]string { return map[string]string{"baseurl": b.base} }

func (b builders) users() *users.UsersRequestBuilder {
	return users.NewUsersRequestBuilderInternal(b.root(), b.adapter)
}

func (b builders) groups() *groups.GroupsRequestBuilder {
	return groups.NewGroupsRequestBuilderInternal(b.root(), b.adapter)
}

func (b builders) sites() *sites.SitesRequestBuilder {
	return sites.NewSitesRequestBuilderInternal(b.root(), b.adapter)
}

func (b builders) drives() *drives.DrivesRequestBuilder {
	return drives.NewDrivesRequestBuilderInternal(b.root(), b.adapter)
}

// built turns what a builder made into a call. It takes the builder's two
// results, so that the two compose.
func (b builders) built(ctx context.Context, op string, cost throttle.Call) func(*abstractions.RequestInformation, error) (call, error) {
	return func(info *abstractions.RequestInformation, err error) (call, error) {
		if err != nil {
			return call{}, tenantry.E(tenantry.Internal, op, err)
		}
		native, err := b.adapter.ConvertToNativeRequest(ctx, info)
		if err != nil {
			return call{}, tenantry.E(tenantry.Internal, op, err)
		}
		req, ok := native.(*http.Request)
		if !ok {
			return call{}, tenantry.Errorf(tenantry.Internal, "%s: the SDK built a %T", op, native)
		}
		return call{op: op, method: req.Method, url: req.URL.String(), header: req.Header, cost: cost}, nil
	}
}

// plain is a call for what the SDK's builders do not cover or where its models
// would change the payload: path segments are escaped here.
func (b builders) plain(op, method string, cost throttle.Call, query url.Values, path ...string) call {
	var u strings.Builder
	u.WriteString(b.base)
	for _, segment := range path {
		u.WriteString("/" + url.PathEscape(segment))
	}
	if len(query) > 0 {
		u.WriteString("?" + strings.ReplaceAll(query.Encode(), "+", "%20"))
	}
	return call{op: op, method: method, url: u.String(), header: http.Header{}, cost: cost}
}

// typed sends c and reads the answer into the SDK's model T. For directory and
// small facts only: a model loses precision, unknown members and explicit nulls,
// so nothing that is backed up goes through one.
func typed[T serialization.Parsable](ctx context.Context, t *Tenant, c call, factory serialization.ParsableFactory) (T, error) {
	var model T
	err := t.do(ctx, c, func(a *answer) error {
		body, err := readAll(a)
		if err != nil {
			return misread(c.op, err)
		}
		model, err = decode[T](body, factory)
		if err != nil {
			return misread(c.op, err)
		}
		return nil
	})
	return model, err
}

// decode parses body into a model. The SDK panics on some odd answers and
// returns nil without an error on empty ones: both are errors here.
func decode[T serialization.Parsable](body []byte, factory serialization.ParsableFactory) (model T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the SDK cannot read the answer: %v", r)
		}
	}()
	if len(body) == 0 {
		return model, io.ErrUnexpectedEOF
	}
	node, err := kiotajson.NewJsonParseNode(body)
	if err != nil {
		return model, err
	}
	parsed, err := node.GetObjectValue(factory)
	if err != nil {
		return model, err
	}
	model, ok := parsed.(T)
	if !ok {
		return model, fmt.Errorf("the answer is not a %T", model)
	}
	return model, nil
}

// value is what p points to, or the zero value: every property of a model is
// optional.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// given fails when an identifier that becomes part of an address is empty: the
// address would name something else.
func given(op string, ids ...string) error {
	for _, id := range ids {
		if id == "" {
			return tenantry.Errorf(tenantry.Invalid, "%s: an ID is empty", op)
		}
	}
	return nil
}
