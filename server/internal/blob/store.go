package blob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/server/internal/store"
)

// envelopeSeq is the place of a package's signed instruction among its references; fragments count
// from 0.
const envelopeSeq = -1

// partialSeq is the place of an instruction that not enough authors have signed yet.
const partialSeq = -2

type blobRow struct {
	SHA256    string `gorm:"column:sha256;primaryKey"`
	Size      int64
	ClaimedAt time.Time
}

func (blobRow) TableName() string { return "blobs" }

type refRow struct {
	OwnerID string `gorm:"primaryKey"`
	Seq     int    `gorm:"primaryKey"`
	SHA256  string `gorm:"column:sha256"`
	Length  int64
}

func (refRow) TableName() string { return "blob_refs" }

type uploadRow struct {
	ID           string `gorm:"primaryKey"`
	FileName     string
	Size         int64
	FragmentSize int64
	Received     int64
	Fragments    int
	HashState    []byte
	State        string
	Format       string
	SHA256       string `gorm:"column:sha256"`
	Entries      string
	EntriesTotal int
	CreatedBy    string
	CreatedAt    time.Time
	UpdatedAt    time.Time `gorm:"autoUpdateTime:false"`
}

func (uploadRow) TableName() string { return "uploads" }

// rows is the database side of the package.
type rows struct{ db *store.DB }

// claim makes the blob's row, or renews it, before its content is stored: from then on collecting
// leaves it alone for claimLife, time enough for the reference that follows.
func (r rows) claim(ctx context.Context, sum string, size int64, now time.Time) error {
	row := blobRow{SHA256: sum, Size: size, ClaimedAt: now}
	err := r.db.With(ctx).Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "sha256"}}, DoUpdates: clause.AssignmentColumns([]string{"claimed_at"}),
	}).Create(&row).Error
	if err != nil {
		return fmt.Errorf("claim blob: %w", err)
	}
	return nil
}

func (r rows) createUpload(ctx context.Context, u *uploadRow) error {
	if err := r.db.With(ctx).Create(u).Error; err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	return nil
}

func (r rows) upload(ctx context.Context, id string) (*uploadRow, error) {
	return findUpload(r.db.With(ctx), id)
}

func findUpload(tx *gorm.DB, id string) (*uploadRow, error) {
	var u uploadRow
	err := tx.Take(&u, "id = ?", id).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fault.New(fault.NotFound, "there is no upload %.40q; it may have expired", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read upload: %w", err)
	}
	return &u, nil
}

// lockUpload reads an upload and keeps others from changing it until the transaction ends.
func lockUpload(tx *gorm.DB, id string) (*uploadRow, error) {
	return findUpload(tx.Clauses(clause.Locking{Strength: "UPDATE"}), id)
}

// advance makes received octets count: the fragment at seq is referred to, in place of a shorter one if
// there is one. It fails when somebody else has moved the upload on meanwhile.
func (r rows) advance(ctx context.Context, before int64, u *uploadRow, seq int, f instruction.Fragment) error {
	return r.db.Tx(ctx, func(tx *gorm.DB) error {
		res := tx.Model(&uploadRow{}).Where("id = ? AND state = ? AND received = ?", u.ID, StateOpen, before).
			Updates(map[string]any{"received": u.Received, "fragments": u.Fragments, "hash_state": u.HashState, "updated_at": u.UpdatedAt})
		if res.Error != nil {
			return fmt.Errorf("advance upload: %w", res.Error)
		}
		if res.RowsAffected != 1 {
			return fault.New(fault.Conflict, "the upload was changed by another request; read its offset and go on from there")
		}
		return reference(tx, refRow{OwnerID: u.ID, Seq: seq, SHA256: f.SHA256, Length: f.Length})
	})
}

func (r rows) finishUpload(ctx context.Context, u *uploadRow) error {
	res := r.db.With(ctx).Model(&uploadRow{}).Where("id = ? AND state = ?", u.ID, StateOpen).
		Updates(map[string]any{
			"state": u.State, "format": u.Format, "sha256": u.SHA256, "entries": u.Entries,
			"entries_total": u.EntriesTotal, "updated_at": u.UpdatedAt,
		})
	if res.Error != nil {
		return fmt.Errorf("finish upload: %w", res.Error)
	}
	if res.RowsAffected != 1 {
		return fault.New(fault.Conflict, "the upload was changed by another request; read it again")
	}
	return nil
}

func (r rows) deleteUpload(ctx context.Context, id string, now time.Time) error {
	return r.db.Tx(ctx, func(tx *gorm.DB) error {
		if _, err := lockUpload(tx, id); err != nil {
			return err
		}
		if err := DropReferences(tx, id, now); err != nil {
			return err
		}
		if err := tx.Delete(&uploadRow{}, "id = ?", id).Error; err != nil {
			return fmt.Errorf("delete upload: %w", err)
		}
		return nil
	})
}

func (r rows) abandoned(ctx context.Context, before time.Time) ([]string, error) {
	var ids []string
	err := r.db.With(ctx).Model(&uploadRow{}).Where("updated_at < ?", before).Limit(1000).Pluck("id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("list abandoned uploads: %w", err)
	}
	return ids, nil
}

// deleteAbandoned deletes an upload unless it has been touched since.
func (r rows) deleteAbandoned(ctx context.Context, id string, before, now time.Time) (deleted bool, err error) {
	err = r.db.Tx(ctx, func(tx *gorm.DB) error {
		deleted = false
		u, err := lockUpload(tx, id)
		if fault.Is(err, fault.NotFound) || (err == nil && !u.UpdatedAt.Before(before)) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := DropReferences(tx, id, now); err != nil {
			return err
		}
		deleted = true
		return tx.Delete(&uploadRow{}, "id = ?", id).Error
	})
	return deleted, err
}

// garbage lists blobs that nothing refers to and nobody has claimed since before.
func (r rows) garbage(ctx context.Context, before time.Time, limit int) ([]string, error) {
	var sums []string
	err := r.db.With(ctx).Model(&blobRow{}).Where("claimed_at < ?", before).
		Where("NOT EXISTS (SELECT 1 FROM blob_refs WHERE blob_refs.sha256 = blobs.sha256)").
		Limit(limit).Pluck("sha256", &sums).Error
	if err != nil {
		return nil, fmt.Errorf("list unreferenced blobs: %w", err)
	}
	return sums, nil
}

// collect deletes one blob's row and calls remove for its content, in a transaction that holds the row:
// whoever claims the same blob meanwhile waits until both are gone and then stores it anew.
func (r rows) collect(ctx context.Context, sum string, before time.Time, remove func() error) (collected bool, err error) {
	err = r.db.Tx(ctx, func(tx *gorm.DB) error {
		collected = false
		var row blobRow
		err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Take(&row, "sha256 = ?", sum).Error
		if errors.Is(err, gorm.ErrRecordNotFound) || (err == nil && !row.ClaimedAt.Before(before)) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock blob: %w", err)
		}
		var refs int64
		if err := tx.Model(&refRow{}).Where("sha256 = ?", sum).Limit(1).Count(&refs).Error; err != nil {
			return fmt.Errorf("count references: %w", err)
		}
		if refs > 0 {
			return nil
		}
		if err := tx.Delete(&blobRow{}, "sha256 = ?", sum).Error; err != nil {
			return fmt.Errorf("delete blob's row: %w", err)
		}
		collected = true
		return remove()
	})
	return collected, err
}

func reference(tx *gorm.DB, row refRow) error {
	err := tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "owner_id"}, {Name: "seq"}}, DoUpdates: clause.AssignmentColumns([]string{"sha256", "length"}),
	}).Create(&row).Error
	if err != nil {
		return fmt.Errorf("refer to blob: %w", err)
	}
	return nil
}

// ReferEnvelope makes a package refer to its signed instruction, in place of the one before. The blob
// has been stored by Service.Keep.
func ReferEnvelope(tx *gorm.DB, ownerID, sum string, length int64) error {
	return reference(tx, refRow{OwnerID: ownerID, Seq: envelopeSeq, SHA256: sum, Length: length})
}

// ReferPartial makes a package refer to an instruction that not enough authors have signed yet, in place
// of the one before. The blob has been stored by Service.Keep.
func ReferPartial(tx *gorm.DB, ownerID, sum string, length int64) error {
	return reference(tx, refRow{OwnerID: ownerID, Seq: partialSeq, SHA256: sum, Length: length})
}

// DropPartial ends ReferPartial.
func DropPartial(tx *gorm.DB, ownerID string, now time.Time) error {
	return drop(tx, now, fmt.Sprintf("owner_id = ? AND seq = %d", partialSeq), ownerID)
}

// Partials finds what packages refer to by ReferPartial: digests by package.
func Partials(tx *gorm.DB, ownerIDs []string) (map[string]string, error) {
	var found []refRow
	if err := tx.Where("owner_id IN ? AND seq = ?", ownerIDs, partialSeq).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("look up partly signed instructions: %w", err)
	}
	digests := map[string]string{}
	for _, f := range found {
		digests[f.OwnerID] = f.SHA256
	}
	return digests, nil
}

// Owns reports whether the owner refers to anything.
func Owns(tx *gorm.DB, ownerID string) (bool, error) {
	var n int64
	if err := tx.Model(&refRow{}).Where("owner_id = ?", ownerID).Limit(1).Count(&n).Error; err != nil {
		return false, fmt.Errorf("look up references: %w", err)
	}
	return n > 0, nil
}

// AdoptUpload makes a package, or a release, refer to the fragments of a finished upload and describes the
// archive. from is how many fragments it refers to already. The upload stays and may be used again until it
// expires.
func AdoptUpload(tx *gorm.DB, uploadID, ownerID string, from int) (*instruction.Archive, error) {
	u, err := lockUpload(tx, uploadID)
	if err != nil {
		return nil, err
	}
	if u.State != StateFinished {
		return nil, fault.New(fault.Conflict, "the upload %s is not finished: %d of %d bytes have arrived", u.ID, u.Received, u.Size)
	}
	frags, err := Fragments(tx, uploadID)
	if err != nil {
		return nil, err
	}
	list := make([]refRow, len(frags))
	for n, f := range frags {
		list[n] = refRow{OwnerID: ownerID, Seq: from + n, SHA256: f.SHA256, Length: f.Length}
	}
	if err := tx.CreateInBatches(list, 500).Error; err != nil {
		return nil, fmt.Errorf("refer to fragments: %w", err)
	}
	return &instruction.Archive{Format: u.Format, Size: u.Size, SHA256: u.SHA256, Fragments: frags}, nil
}

// Fragments lists the fragments that an upload or a package refers to, in order.
func Fragments(tx *gorm.DB, ownerID string) ([]instruction.Fragment, error) {
	var list []refRow
	if err := tx.Where("owner_id = ? AND seq >= 0", ownerID).Order("seq").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list fragments: %w", err)
	}
	frags := make([]instruction.Fragment, len(list))
	for n, row := range list {
		frags[n] = instruction.Fragment{SHA256: row.SHA256, Length: row.Length}
	}
	return frags, nil
}

// DropFragments ends an owner's references to fragments; that to the instruction stays.
func DropFragments(tx *gorm.DB, ownerID string, now time.Time) error {
	return drop(tx, now, "owner_id = ? AND seq >= 0", ownerID)
}

// DropReferences ends all references of an owner.
func DropReferences(tx *gorm.DB, ownerID string, now time.Time) error {
	return drop(tx, now, "owner_id = ?", ownerID)
}

// drop renews the claims of what loses a reference: a backup that saw the reference still finds the blob.
func drop(tx *gorm.DB, now time.Time, where string, ownerID string) error {
	dropped := tx.Session(&gorm.Session{NewDB: true}).Model(&refRow{}).Select("sha256").Where(where, ownerID)
	if err := tx.Model(&blobRow{}).Where("sha256 IN (?)", dropped).Update("claimed_at", now).Error; err != nil {
		return fmt.Errorf("renew claims: %w", err)
	}
	if err := tx.Where(where, ownerID).Delete(&refRow{}).Error; err != nil {
		return fmt.Errorf("drop references: %w", err)
	}
	return nil
}
