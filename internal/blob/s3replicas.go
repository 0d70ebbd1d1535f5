package blob

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Replicated is what a Store can tell about copies that the storage itself makes.
type Replicated interface {
	// Replicas names the buckets that objects are copied to; none if there are none. An
	// error means that it could not be learnt.
	Replicas(ctx context.Context) ([]string, error)
}

// Replicas implements Replicated by the bucket's replication rules.
func (s *S3) Replicas(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s3CallTimeout)
	defer cancel()
	out, err := s.client.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &s.bucket})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ReplicationConfigurationNotFoundError" {
		return nil, nil
	}
	if err != nil {
		return nil, s.fail(ctx, "read the replication rules of", "", err)
	}
	var found []string
	if out.ReplicationConfiguration != nil {
		for _, r := range out.ReplicationConfiguration.Rules {
			if r.Status == types.ReplicationRuleStatusEnabled && r.Destination != nil {
				found = append(found, aws.ToString(r.Destination.Bucket))
			}
		}
	}
	return found, nil
}
