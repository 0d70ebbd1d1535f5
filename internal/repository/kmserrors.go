package repository

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// kmsFailure is what an error code of KMS means to us.
type kmsFailure struct {
	kind tenantry.Kind
	code string // stable, for machines: tenantry.CodeOf
	says string // what to do, for people
}

// kmsFailures are the errors of Decrypt, GenerateDataKey, DescribeKey, CreateKey and ScheduleKeyDeletion (AWS KMS API
// reference), and those that all AWS services have in common. What is not among them concerns every tenant.
var kmsFailures = map[string]kmsFailure{
	"InvalidCiphertextException": {tenantry.Corrupt, "kms_ciphertext", "what it wrapped is damaged, tampered with, or of another tenant"},
	"NotFoundException":          {tenantry.WrongKey, "kms_gone", "the key is gone: deleted, or in another account or region"},
	"IncorrectKeyException":      {tenantry.WrongKey, "kms_other_key", "another key has wrapped this"},
	"DisabledException":          {tenantry.WrongKey, "kms_disabled", "the key is disabled: enable it again"},
	"KMSInvalidStateException":   {tenantry.WrongKey, "kms_state", "the key is in a state in which it cannot be used"},
	"InvalidKeyUsageException":   {tenantry.WrongKey, "kms_usage", "the key is not one to encrypt and decrypt with"},

	"ThrottlingException":         {tenantry.Transient, "kms_throttled", "KMS asks for fewer requests"},
	"KMSInternalException":        {tenantry.Transient, "kms_internal", "KMS has failed"},
	"DependencyTimeoutException":  {tenantry.Transient, "kms_timeout", "KMS has not answered in time"},
	"KeyUnavailableException":     {tenantry.Transient, "kms_unavailable", "the key is not available for now"},
	"ServiceUnavailableException": {tenantry.Transient, "kms_unavailable", "KMS is not available for now"},

	"LimitExceededException": {tenantry.Capacity, "kms_quota", "the account's quota of keys or aliases is used up"},

	// sharedKey is the code of that cause of a pause: whose policy refuses cannot be told from here.
	"AccessDeniedException":       {tenantry.Shared, sharedKey, "access is denied: the key's policy, or that of our credentials, does not allow it"},
	"UnrecognizedClientException": {tenantry.Shared, sharedKey, "KMS does not know our credentials"},
	"InvalidSignatureException":   {tenantry.Shared, sharedKey, "KMS does not accept our credentials or our clock"},
	"ExpiredTokenException":       {tenantry.Shared, sharedKey, "our credentials have expired"},
}

// sharedKey names the shared cause that no key can be asked for.
const sharedKey = "key"

// kmsError says what to do next about an error of KMS.
func kmsError(ctx context.Context, op string, err error) error {
	var timeout net.Error
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		if errors.Is(ctx.Err(), context.Canceled) {
			return tenantry.E(tenantry.Canceled, op, err)
		}
		return kmsFailures["DependencyTimeoutException"].error(op, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if f, ok := kmsFailures[api.ErrorCode()]; ok {
			return f.error(op, err)
		}
	}
	return kmsFailure{tenantry.Shared, sharedKey, "KMS cannot be asked"}.error(op, err)
}

func (f kmsFailure) error(op string, err error) error {
	return &tenantry.Error{Kind: f.kind, Op: op + ": " + f.says, Code: f.code, Err: err}
}

// keyError is kmsError for an operation with a key: of one that is about to be deleted, or of another region, it says so.
func (k *kmsRing) keyError(ctx context.Context, op, keyID string, err error) error {
	var absent *types.NotFoundException
	if named, notOne := arn.Parse(keyID); notOne == nil && errors.As(err, &absent) && named.Region != k.region {
		return kmsFailure{tenantry.WrongKey, "kms_region", "the key is one of region " + named.Region + ", and KMS was asked in " + k.region + ": set the region of the key"}.error(op, err)
	}
	var state *types.KMSInvalidStateException
	if !errors.As(err, &state) {
		return kmsError(ctx, op, err)
	}
	out, again := k.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &keyID})
	if again == nil && out.KeyMetadata.KeyState == types.KeyStatePendingDeletion {
		return pendingDeletion(op, out.KeyMetadata)
	}
	return kmsError(ctx, op, err)
}

// pendingDeletion says that a key opens nothing any more, and until when that can be undone.
func pendingDeletion(op string, meta *types.KeyMetadata) error {
	return kmsFailure{tenantry.WrongKey, "kms_pending_deletion", "the key " + aws.ToString(meta.Arn) + " is being destroyed, which can be canceled until " +
		aws.ToTime(meta.DeletionDate).UTC().Format(time.RFC3339)}.error(op, nil)
}
