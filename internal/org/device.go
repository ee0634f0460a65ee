package org

import (
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	// maxDeviceUsers is how many users of a device are remembered: more is as bad.
	maxDeviceUsers = 16
	// deviceRoom is how many devices a piece has, deviceUsers how many users all of them have together.
	deviceRoom  = 16
	deviceUsers = 64
	// maxUser is the longest user id that is remembered by name.
	maxUser = 64
)

// device is who used a device (R2).
type device struct {
	hash   uint64
	users  []deviceUser // oldest first
	shared daySet       // days on which too many used it
}

type deviceUser struct {
	packed string
	hour   uint32 // of the epoch
}

// devices is a piece of devices, the one used last at the end.
type devices struct {
	marks
	index int
	list  []device
}

func (d *devices) name() string { return pieceDevices + "/" + strconv.Itoa(d.index) }

func (d *devices) room() int { return 32 + deviceRoom*18 + 2*deviceUsers*(maxUser+7) }

func (d *devices) append(w *writer) {
	w.Count(len(d.list))
	for i := range d.list {
		v := &d.list[i]
		w.Fixed(v.hash)
		w.Count(len(v.users))
		for _, u := range v.users {
			w.packed(u.packed)
			w.Uint(uint64(u.hour))
		}
		v.shared.append(w)
	}
}

func (d *devices) read(r *reader) {
	d.list = nil
	for range r.Count(deviceRoom) {
		v := device{hash: r.Fixed()}
		for range r.Count(maxDeviceUsers) {
			v.users = append(v.users, deviceUser{r.packed(), uint32(r.Count(1<<32 - 1))})
		}
		v.shared.read(r)
		d.list = append(d.list, v)
	}
}

// use notes that a user used a device at an hour. It returns the device, and whether anything is new; nil when others have used
// it more than a day later, and so it says nothing any more.
func (d *devices) use(h uint64, user string, hour uint32) (*device, bool) {
	user = pack(user)
	i := slices.IndexFunc(d.list, func(v device) bool { return v.hash == h })
	if i < 0 {
		for len(d.list) >= deviceRoom || d.users() >= deviceUsers {
			d.list = slices.Delete(d.list, 0, 1)
		}
		d.list = append(d.list, device{hash: h, users: []deviceUser{{user, hour}}})
		return &d.list[len(d.list)-1], true
	}
	v := d.list[i]
	newest := hour
	for _, u := range v.users {
		newest = max(newest, u.hour)
	}
	if hour+24 < newest {
		return nil, false
	}
	k := slices.IndexFunc(v.users, func(u deviceUser) bool { return u.packed == user })
	if k >= 0 && v.users[k].hour >= hour {
		return &d.list[i], false
	}
	if k >= 0 {
		v.users = slices.Delete(v.users, k, k+1)
	}
	if len(v.users) >= maxDeviceUsers {
		v.users = slices.Delete(v.users, 0, 1)
	}
	v.users = append(v.users, deviceUser{user, hour})
	v.users = slices.DeleteFunc(v.users, func(u deviceUser) bool { return u.hour+24 < newest })
	d.list = append(slices.Delete(d.list, i, i+1), v)
	return &d.list[len(d.list)-1], true
}

func (d *devices) users() (n int) {
	for i := range d.list {
		n += len(d.list[i].users)
	}
	return n
}

// deviceBuckets is how many pieces of devices there are.
func (s *State) deviceBuckets() int { return max(1, s.config.Devices.Remembered/deviceRoom) }

// forgetStrays deletes some of the pieces that there is no place for.
func (s *State) forgetStrays() {
	n := min(len(s.strays), maxForgotten)
	for _, name := range s.strays[:n] {
		s.erase(name)
	}
	if s.strays = s.strays[n:]; len(s.strays) == 0 {
		s.strays = nil
	}
}

// deviceBucket is a piece of devices, made when it is asked for.
func (s *State) deviceBucket(index int) *devices {
	b := s.devices[index]
	if b == nil {
		b = &devices{index: index}
		s.devices[index] = b
	}
	return b
}

// judgeDevice is DEV-03: one device, several users within 24 hours. A managed device, and one that was shared on several
// days, is meant to be.
func (s *State) judgeDevice(m *events.Sighting, t events.Millis) {
	if m.Device.ID == "" || m.Unresolved || len(m.User) > maxUser {
		return
	}
	h := hash(m.Device.ID)
	b := s.deviceBucket(int(h % uint64(s.deviceBuckets())))
	v, changed := b.use(h, m.User, uint32(max(0, t)/events.Hour))
	if changed {
		s.change(b)
	}
	if v == nil || len(v.users) < s.config.Devices.Users {
		return
	}
	today := dayOf(t)
	known := ones(v.shared.within(today)&^1) >= s.config.Devices.SharedDays
	if v.shared.within(today)&1 == 0 {
		v.shared.add(today)
		s.change(b)
	}
	severity := events.Medium
	switch managed := m.Device.Managed == events.Yes; {
	case known && managed:
		severity = events.Info
	case known || managed:
		severity = events.Low
	}
	on := "device " + m.Device.ID
	i := s.warrant(dev03, on, t, m.EventID)
	verdict := events.Verdict{
		Detection: dev03, Severity: severity, Incident: i.id, Source: on, Users: len(v.users), From: t - events.Day, To: t,
	}
	for _, u := range v.users {
		verdict.Sample = append(verdict.Sample, unpack(u.packed))
	}
	for _, u := range v.users {
		if other := unpack(u.packed); other != m.User && s.once(i, hash(other)) {
			s.tell(other, false, verdict)
		}
	}
	if s.once(i, hash(m.User)) {
		verdict.EventID = m.EventID
		s.tell(m.User, false, verdict)
	}
}
