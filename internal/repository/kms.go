package repository

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// kmsCallTimeout bounds one call with the SDK's retries.
	kmsCallTimeout = 30 * time.Second
	// kmsWait is how many days a destroyed key can still be saved: the least that KMS
	// allows (API reference, ScheduleKeyDeletion).
	kmsWait = 7
	// kmsPlain bounds the wrapped key in front of sealed material.
	kmsPlain = 8 << 10
)

// KMSOptions say which AWS KMS to use. The zero value takes region and credentials from
// the environment, a profile or the machine's role.
type KMSOptions struct {
	Region   string
	Endpoint string // instead of AWS's own
	// Fleet tells the keys of several fleets in one account apart: letters, digits, - and _.
	Fleet string
	// AccessKey and SecretKey are static credentials; both or neither.
	AccessKey string
	SecretKey tenantry.Secret
}

// kmsRing is a KeyManager over AWS KMS. Each tenant has a symmetric key of its own, found
// by the alias "alias/tenantry/<fleet>/<tenant>"; earlier ones are named in the key
// object. KMS takes 4 KiB at most, so what is wrapped is sealed under a data key of
// GenerateDataKey. The tenant is the encryption context: KMS refuses to open what belongs
// to another.
type kmsRing struct {
	client *kms.Client
	fleet  string
	region string // that client asks
}

var kmsName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// OpenKMS returns a keyring over AWS KMS. It asks KMS nothing yet.
func OpenKMS(ctx context.Context, o KMSOptions) (KeyManager, error) {
	if !kmsName.MatchString(o.Fleet) {
		return nil, tenantry.Errorf(tenantry.Invalid, "KMS: the fleet's name is %q; it may be 1 to 64 letters, digits, - and _", o.Fleet)
	}
	if (o.AccessKey == "") != o.SecretKey.IsZero() {
		return nil, tenantry.Errorf(tenantry.Invalid, "KMS: access key and secret key are given both or neither")
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = kmsCallTimeout / 2
		})),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(o.AccessKey, o.SecretKey.Reveal(), "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "read the KMS configuration", err)
	}
	return &kmsRing{fleet: o.Fleet, region: cfg.Region, client: kms.NewFromConfig(cfg, func(ko *kms.Options) {
		if o.Endpoint != "" {
			ko.BaseEndpoint = aws.String(o.Endpoint)
		}
	})}, nil
}

// alias is the name by which a tenant's current key is found. An alias has fewer
// characters than a tenant's ID may have.
func (k *kmsRing) alias(tenant tenantry.TenantID) *string {
	name := string(tenant)
	if !kmsName.MatchString(name) {
		sum := sha256.Sum256([]byte(name))
		name = "x-" + hex.EncodeToString(sum[:16])
	}
	return aws.String("alias/tenantry/" + k.fleet + "/" + name)
}

func kmsContext(tenant tenantry.TenantID) map[string]string {
	return map[string]string{"tenantry": "wrap v1", "tenant": string(tenant)}
}

// Wrap implements Keyring: 4 bytes length, the data key as KMS wrapped it, sealed material.
func (k *kmsRing) Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) ([]byte, string, error) {
	ctx, cancel := context.WithTimeout(ctx, kmsCallTimeout)
	defer cancel()
	id, err := k.current(ctx, tenant)
	if tenantry.KindOf(err) == tenantry.NotFound {
		id, err = k.Rotate(ctx, tenant)
	}
	if err != nil {
		return nil, "", err
	}
	out, err := k.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &id, KeySpec: types.DataKeySpecAes256, EncryptionContext: kmsContext(tenant),
	})
	if err != nil {
		return nil, "", k.keyError(ctx, "wrap a key of tenant "+string(tenant)+" with "+id, id, err)
	}
	aead, err := newAEAD(out.Plaintext)
	if err != nil {
		return nil, "", err
	}
	wrapped := binary.BigEndian.AppendUint32(nil, uint32(len(out.CiphertextBlob)))
	wrapped = append(wrapped, out.CiphertextBlob...)
	return aead.Seal(wrapped, nil, key, wrapAD(tenant, id)), id, nil
}

// Unwrap implements Keyring.
func (k *kmsRing) Unwrap(ctx context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kmsCallTimeout)
	defer cancel()
	if len(wrapped) < 4 || binary.BigEndian.Uint32(wrapped) > uint32(min(len(wrapped)-4, kmsPlain)) {
		return nil, tenantry.Errorf(tenantry.Corrupt, "what KMS key %s of tenant %s wrapped is cut short or was not wrapped by KMS", keyID, tenant)
	}
	end := 4 + binary.BigEndian.Uint32(wrapped)
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &keyID, CiphertextBlob: wrapped[4:end], EncryptionContext: kmsContext(tenant),
	})
	if err != nil {
		return nil, k.keyError(ctx, "unwrap a key of tenant "+string(tenant)+" with "+keyID, keyID, err)
	}
	aead, err := newAEAD(out.Plaintext)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, wrapped[end:], wrapAD(tenant, keyID))
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Corrupt, "what KMS key %s of tenant %s wrapped was tampered with", keyID, tenant)
	}
	return key, nil
}

// current returns the ARN of the tenant's key; NotFound if it has none.
func (k *kmsRing) current(ctx context.Context, tenant tenantry.TenantID) (string, error) {
	out, err := k.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.alias(tenant)})
	var absent *types.NotFoundException
	if errors.As(err, &absent) {
		return "", tenantry.E(tenantry.NotFound, "find the KMS key of tenant "+string(tenant), err)
	}
	if err != nil {
		return "", kmsError(ctx, "find the KMS key of tenant "+string(tenant), err)
	}
	if out.KeyMetadata.KeyState == types.KeyStatePendingDeletion {
		return "", pendingDeletion("use the KMS key of tenant "+string(tenant), out.KeyMetadata)
	}
	return aws.ToString(out.KeyMetadata.Arn), nil
}

// Rotate implements KeyManager: a new key, then the alias.
func (k *kmsRing) Rotate(ctx context.Context, tenant tenantry.TenantID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, kmsCallTimeout)
	defer cancel()
	made, err := k.client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String("Tenantry: wraps the backup keys of tenant " + string(tenant)),
		Tags: []types.Tag{
			{TagKey: aws.String("tenantry:fleet"), TagValue: &k.fleet},
			{TagKey: aws.String("tenantry:tenant"), TagValue: aws.String(string(tenant))},
		},
	})
	if err != nil {
		return "", kmsError(ctx, "make a KMS key for tenant "+string(tenant), err)
	}
	id := aws.ToString(made.KeyMetadata.Arn)
	_, err = k.client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: k.alias(tenant), TargetKeyId: &id})
	var taken *types.AlreadyExistsException
	if errors.As(err, &taken) {
		_, err = k.client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: k.alias(tenant), TargetKeyId: &id})
	}
	if err != nil {
		return "", kmsError(ctx, "name the KMS key "+id+" of tenant "+string(tenant), err)
	}
	return id, nil
}

// WrappingKeys implements KeyManager: KMS finds the current one; the key object names the others.
func (k *kmsRing) WrappingKeys(ctx context.Context, tenant tenantry.TenantID) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, kmsCallTimeout)
	defer cancel()
	id, err := k.current(ctx, tenant)
	switch tenantry.KindOf(err) {
	case tenantry.NotFound, tenantry.WrongKey:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []string{id}, nil
}

// Destroy implements KeyManager: KMS destroys after a waiting period, in which the key opens
// nothing but can be saved by who may cancel that.
func (k *kmsRing) Destroy(ctx context.Context, tenant tenantry.TenantID, keyID string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, kmsCallTimeout)
	defer cancel()
	out, err := k.client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &keyID, PendingWindowInDays: aws.Int32(kmsWait)})
	if err == nil {
		return aws.ToTime(out.DeletionDate), nil
	}
	var absent *types.NotFoundException
	if errors.As(err, &absent) {
		return time.Now(), nil
	}
	if described, again := k.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &keyID}); again == nil &&
		described.KeyMetadata.KeyState == types.KeyStatePendingDeletion {
		return aws.ToTime(described.KeyMetadata.DeletionDate), nil
	}
	return time.Time{}, kmsError(ctx, "destroy KMS key "+keyID+" of tenant "+string(tenant), err)
}
