#!/bin/sh
# Boots systemd on a copy of this machine's files, in namespaces that are private to it:
#   boot.sh STAGE PREFIX PACKAGES FOLDER
# STAGE is laid over the file system. PREFIX, the interpreter's, is seen as /opt/python
# and PACKAGES as /opt/packages: where they really are may be a home folder, which the
# unit hides. All that is written goes to memory, mounted in FOLDER, and is gone with us.
set -eu
stage=$1 prefix=$2 packages=$3 folder=$4

mount --make-rprivate /
mount -t tmpfs -o mode=755 private "$folder"
cd "$folder"
mkdir work root
cp -a "$stage" upper
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
cd root
mkdir opt/python opt/packages old
mount --bind "$prefix" opt/python
mount --bind "$packages" opt/packages

# None of this machine's own units, but what any system has; and ours.
mount -t tmpfs -o mode=755 units etc/systemd/system
mount -t tmpfs -o mode=755 units usr/lib/systemd/system
cp -a units/any/* usr/lib/systemd/system
cp units/ours/* etc/systemd/system

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
mkdir dev/shm dev/pts
for device in full null random tty urandom zero; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

pivot_root . old
umount -l old
# An interpreter that was built where it now is not seeks its own library.
echo /opt/python/lib > /etc/ld.so.conf.d/python.conf
ldconfig
exec env -i container=test PATH=/usr/bin:/bin \
  SYSTEMD_UNIT_PATH=/etc/systemd/system:/usr/lib/systemd/system \
  /lib/systemd/systemd --system --unit=multi-user.target
