package release

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
)

type releaseRow struct {
	ID        string `gorm:"primaryKey"`
	Version   string
	LiveKey   *string
	State     string
	Envelope  string
	Document  string
	SignedBy  string
	ExpiresAt time.Time
	CreatedBy string
	CreatedAt time.Time
	RetiredAt *time.Time
}

func (releaseRow) TableName() string { return "releases" }

// rows is the database side of the package.
type rows struct{ db *store.DB }

func (r rows) find(ctx context.Context, id string) (*releaseRow, error) {
	return take(r.db.With(ctx), id)
}

func take(tx *gorm.DB, id string) (*releaseRow, error) {
	var row releaseRow
	err := tx.Take(&row, "id = ?", id).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fault.New(fault.NotFound, "there is no release %.40q", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read release: %w", err)
	}
	return &row, nil
}

// list returns up to q.Limit releases, the newest first.
func (r rows) list(ctx context.Context, q Query) ([]releaseRow, error) {
	tx := r.db.With(ctx).Scopes(store.Contains(q.Search, "version")).Order("id DESC").Limit(q.Limit)
	if q.State != "" {
		tx = tx.Where("state = ?", string(q.State))
	}
	if q.After != "" {
		tx = tx.Where("id < ?", q.After)
	}
	var list []releaseRow
	if err := tx.Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	return list, nil
}

// create adds a release and makes it refer to its envelope and, build after build, to the fragments of the
// uploads. same gets the server's own cut of each build and may refuse it.
func (r rows) create(ctx context.Context, row *releaseRow, envelopeSize int64, uploadIDs []string, same func(build int, own *instruction.Archive) error) error {
	return r.db.Tx(ctx, func(tx *gorm.DB) error {
		taken, err := blob.Owns(tx, row.ID)
		if err != nil {
			return err
		}
		if taken {
			return fault.New(fault.Conflict, "the id %s is in use already: make and sign the release again", row.ID)
		}
		err = tx.Create(row).Error
		if errors.Is(err, gorm.ErrDuplicatedKey) {
			return fault.New(fault.Conflict, "release %s exists already: choose another version, or retire the other one and make a new release", row.Version)
		}
		if err != nil {
			return fmt.Errorf("create release: %w", err)
		}
		from := 0
		for n, id := range uploadIDs {
			own, err := blob.AdoptUpload(tx, id, row.ID, from)
			if fault.Is(err, fault.NotFound) {
				return errUpload(id)
			}
			if err != nil {
				return err
			}
			if err := same(n, own); err != nil {
				return err
			}
			from += len(own.Fragments)
		}
		return blob.ReferEnvelope(tx, row.ID, row.Envelope, envelopeSize)
	})
}

func errUpload(id string) error {
	return fault.Field("body.upload_ids", "there is no upload %.40q; it may have expired", id)
}

// retire frees the fragments of a release and its version; the envelope stays as a record of what ran.
func (r rows) retire(ctx context.Context, id string, now time.Time) (*releaseRow, error) {
	var row *releaseRow
	err := r.db.Tx(ctx, func(tx *gorm.DB) error {
		var err error
		if row, err = take(tx.Clauses(clause.Locking{Strength: "UPDATE"}), id); err != nil {
			return err
		}
		if row.State == string(Retired) {
			return nil
		}
		row.State, row.LiveKey, row.RetiredAt = string(Retired), nil, &now
		if err := tx.Save(row).Error; err != nil {
			return fmt.Errorf("retire release: %w", err)
		}
		return blob.DropFragments(tx, row.ID, now)
	})
	return row, err
}

// retired lists the releases that are.
func (r rows) retired(ctx context.Context) ([]string, error) {
	var ids []string
	if err := r.db.With(ctx).Model(&releaseRow{}).Where("state = ?", string(Retired)).Order("id").Pluck("id", &ids).Error; err != nil {
		return nil, fmt.Errorf("list retired releases: %w", err)
	}
	return ids, nil
}

// offered fails unless the envelope is that of an active release.
func (r rows) offered(ctx context.Context, digest string) error {
	var found []string
	err := r.db.Hot(ctx).Model(&releaseRow{}).Where("envelope = ? AND state = ?", digest, string(Active)).Limit(1).Pluck("id", &found).Error
	if err != nil {
		return fmt.Errorf("look up release: %w", err)
	}
	if len(found) == 0 {
		return fault.New(fault.NotFound, "there is no release of the digest %s", digest)
	}
	return nil
}

// fragmentShared reports whether an active release has the fragment.
func (r rows) fragmentShared(ctx context.Context, digest string) (bool, error) {
	var found []int
	err := r.db.Hot(ctx).Table("blob_refs").Joins("JOIN releases ON releases.id = blob_refs.owner_id").
		Where("blob_refs.sha256 = ? AND blob_refs.seq >= 0 AND releases.state = ?", digest, string(Active)).
		Limit(1).Pluck("blob_refs.seq", &found).Error
	if err != nil {
		return false, fmt.Errorf("look up fragment: %w", err)
	}
	return len(found) > 0, nil
}

// fragments lists those of an upload, in order.
func (r rows) fragments(ctx context.Context, uploadID string) ([]instruction.Fragment, error) {
	return blob.Fragments(r.db.With(ctx), uploadID)
}
