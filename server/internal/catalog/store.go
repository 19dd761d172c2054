package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
)

type packageRow struct {
	ID                string `gorm:"primaryKey"`
	Name              string
	Version           string
	LiveKey           *string
	Priority          int
	Action            string
	State             string
	Spec              string
	ArchiveFormat     string
	ArchiveSize       int64
	ArchiveSHA256     string `gorm:"column:archive_sha256"`
	ArchiveFragments  int
	Serial            int64
	InstructionDigest string
	SignedBy          string
	Private           bool
	IssuedAt          *time.Time
	ExpiresAt         *time.Time
	CreatedBy         string
	CreatedAt         time.Time
	UpdatedAt         time.Time `gorm:"autoUpdateTime:false"`
	ActivatedAt       *time.Time
	RetiredAt         *time.Time
}

func (packageRow) TableName() string { return "packages" }

// liveKey makes name and version unique among packages that are not retired: NULLs do not collide.
func liveKey(name, version string) *string {
	sum := sha256.Sum256([]byte(name + "\x00" + version))
	key := hex.EncodeToString(sum[:])
	return &key
}

// rows is the database side of the package.
type rows struct{ db *store.DB }

func (r rows) find(ctx context.Context, id string) (*packageRow, error) {
	return take(r.db.With(ctx), id)
}

func take(tx *gorm.DB, id string) (*packageRow, error) {
	var row packageRow
	err := tx.Take(&row, "id = ?", id).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, fault.New(fault.NotFound, "there is no package %.40q", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read package: %w", err)
	}
	return &row, nil
}

// takeLocked keeps others from changing the package until the transaction ends.
func takeLocked(tx *gorm.DB, id string) (*packageRow, error) {
	return take(tx.Clauses(clause.Locking{Strength: "UPDATE"}), id)
}

// list returns up to limit packages, newest first, that come after the id.
func (r rows) list(ctx context.Context, search, state, after string, limit int) ([]packageRow, error) {
	tx := r.db.With(ctx).Scopes(store.Contains(search, "name", "version")).Order("id DESC").Limit(limit)
	if state != "" {
		tx = tx.Where("state = ?", state)
	}
	if after != "" {
		tx = tx.Where("id < ?", after)
	}
	var list []packageRow
	if err := tx.Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	return list, nil
}

// create adds a draft. build gets the archive of the upload, nil without one, and may refuse it.
func (r rows) create(ctx context.Context, row *packageRow, uploadID string, build func(*instruction.Archive) error) error {
	return r.db.Tx(ctx, func(tx *gorm.DB) error {
		var archive *instruction.Archive
		if uploadID != "" {
			a, err := blob.AdoptUpload(tx, uploadID, row.ID, 0)
			if fault.Is(err, fault.NotFound) {
				return fault.Field("body.upload_id", "there is no upload %.40q; it may have expired", uploadID)
			}
			if err != nil {
				return err
			}
			archive = a
			row.ArchiveFormat, row.ArchiveSize, row.ArchiveSHA256, row.ArchiveFragments = a.Format, a.Size, a.SHA256, len(a.Fragments)
		}
		if err := build(archive); err != nil {
			return err
		}
		err := tx.Create(row).Error
		if errors.Is(err, gorm.ErrDuplicatedKey) {
			return fault.New(fault.Conflict, "%s %s exists already: choose another version, or delete or retire the other one", row.Name, row.Version)
		}
		if err != nil {
			return fmt.Errorf("create package: %w", err)
		}
		return nil
	})
}

// fragmentShared reports whether an active package that is not private has the fragment.
func (r rows) fragmentShared(ctx context.Context, digest string) (bool, error) {
	var found []int
	err := r.db.Hot(ctx).Table("blob_refs").Joins("JOIN packages ON packages.id = blob_refs.owner_id").
		Where("blob_refs.sha256 = ? AND blob_refs.seq >= 0 AND packages.private = ? AND packages.state = ?", digest, false, string(Active)).
		Limit(1).Pluck("blob_refs.seq", &found).Error
	if err != nil {
		return false, fmt.Errorf("look up fragment: %w", err)
	}
	return len(found) > 0, nil
}

// archive describes a package's archive, nil without one. A retired package has no fragments any more.
func (r rows) archive(ctx context.Context, p *packageRow) (*instruction.Archive, error) {
	if p.ArchiveFormat == "" {
		return nil, nil
	}
	frags, err := blob.Fragments(r.db.With(ctx), p.ID)
	if err != nil {
		return nil, err
	}
	return &instruction.Archive{Format: p.ArchiveFormat, Size: p.ArchiveSize, SHA256: p.ArchiveSHA256, Fragments: frags}, nil
}

// change runs fn on the locked package and saves what fn changed. It returns the state before, too.
func (r rows) change(ctx context.Context, id string, now time.Time, fn func(tx *gorm.DB, p *packageRow) error) (row *packageRow, before string, err error) {
	err = r.db.Tx(ctx, func(tx *gorm.DB) error {
		p, err := takeLocked(tx, id)
		if err != nil {
			return err
		}
		row, before = p, p.State
		if err := fn(tx, p); err != nil {
			return err
		}
		p.UpdatedAt = now
		if err := tx.Save(p).Error; err != nil {
			return fmt.Errorf("save package: %w", err)
		}
		return nil
	})
	return row, before, err
}

// signed is what a signing leaves in the row.
type signed struct {
	i      *instruction.Instruction
	digest string
	length int64
	keys   []string
}

// sign records a signed instruction.
func (r rows) sign(ctx context.Context, id string, s signed, now time.Time) (*packageRow, error) {
	row, _, err := r.change(ctx, id, now, func(tx *gorm.DB, p *packageRow) error {
		if p.State == string(Retired) {
			return errState(p, "it cannot be signed any more")
		}
		newest, err := newestOfName(tx, p.Name)
		if err != nil {
			return err
		}
		serial := int64(s.i.Serial) // Validate bounds it
		if newest != nil && serial < newest.Serial {
			return fault.New(fault.Conflict, "the serial %d is older than %d of %s %s, and devices never go back: sign again", serial, newest.Serial, newest.Name, newest.Version)
		}
		issued, expires := s.i.IssuedAt, s.i.ExpiresAt
		p.Serial, p.InstructionDigest, p.SignedBy = serial, s.digest, strings.Join(s.keys, " ")
		p.IssuedAt, p.ExpiresAt = &issued, &expires
		if err := blob.DropPartial(tx, p.ID, now); err != nil {
			return err
		}
		return blob.ReferEnvelope(tx, p.ID, s.digest, s.length)
	})
	return row, err
}

// partials finds the partly signed instructions of packages: digests by package.
func (r rows) partials(ctx context.Context, ids []string) (map[string]string, error) {
	return blob.Partials(r.db.With(ctx), ids)
}

// keepPartial records an instruction that not enough authors have signed yet.
func (r rows) keepPartial(ctx context.Context, id, digest string, length int64, now time.Time) (*packageRow, error) {
	row, _, err := r.change(ctx, id, now, func(tx *gorm.DB, p *packageRow) error {
		if p.State == string(Retired) {
			return errState(p, "it cannot be signed any more")
		}
		return blob.ReferPartial(tx, p.ID, digest, length)
	})
	return row, err
}

// newestOfName is the package of the name with the highest serial, nil when none is signed.
func newestOfName(tx *gorm.DB, name string) (*packageRow, error) {
	var list []packageRow
	err := tx.Where("name = ? AND serial > 0", name).Order("serial DESC").Limit(1).Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("read newest serial: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return &list[0], nil
}

// newestSerial is the highest serial of a name, 0 when none is signed.
func (r rows) newestSerial(ctx context.Context, name string) (uint64, error) {
	newest, err := newestOfName(r.db.With(ctx), name)
	if err != nil || newest == nil {
		return 0, err
	}
	return uint64(max(newest.Serial, 0)), nil // not negative
}

// activate makes a signed draft active; digest is the envelope that has been checked.
func (r rows) activate(ctx context.Context, id, digest string, now time.Time) (*packageRow, string, error) {
	return r.change(ctx, id, now, func(_ *gorm.DB, p *packageRow) error {
		switch {
		case p.State == string(Active):
			return nil
		case p.State != string(Draft):
			return errState(p, "only a draft can be activated")
		case p.InstructionDigest == "":
			return errState(p, "sign it before it is activated")
		case p.InstructionDigest != digest:
			return errState(p, "it was signed anew meanwhile; try again")
		}
		p.State, p.ActivatedAt = string(Active), &now
		return nil
	})
}

func (r rows) retire(ctx context.Context, id string, now time.Time) (*packageRow, string, error) {
	return r.change(ctx, id, now, func(tx *gorm.DB, p *packageRow) error {
		if p.State == string(Retired) {
			return nil
		}
		if p.State == string(Draft) {
			return errState(p, "delete it instead")
		}
		p.State, p.RetiredAt, p.LiveKey = string(Retired), &now, nil
		if err := blob.DropPartial(tx, p.ID, now); err != nil {
			return err
		}
		return blob.DropFragments(tx, p.ID, now) // the instruction stays as a record of what was run
	})
}

func (r rows) delete(ctx context.Context, id string, now time.Time) error {
	return r.db.Tx(ctx, func(tx *gorm.DB) error {
		p, err := takeLocked(tx, id)
		if err != nil {
			return err
		}
		if p.State != string(Draft) {
			return errState(p, "only drafts can be deleted; retire it instead")
		}
		if err := blob.DropReferences(tx, p.ID, now); err != nil {
			return err
		}
		if err := tx.Delete(&packageRow{}, "id = ?", p.ID).Error; err != nil {
			return fmt.Errorf("delete package: %w", err)
		}
		return nil
	})
}
