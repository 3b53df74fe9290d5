//! File data.

use kiln_uring::sys::{Errno, File, OpenFlags, ReadFlags, SeekFrom};

use super::bed::{Bed, RDONLY};

const KEEP: u32 = libc::FALLOC_FL_KEEP_SIZE as u32;
const PUNCH: u32 = libc::FALLOC_FL_PUNCH_HOLE as u32 | KEEP;
const ZERO: u32 = libc::FALLOC_FL_ZERO_RANGE as u32;

/// The space of a file is `blocks` of 512 bytes; on a real disk that is fragmented, and one more page for its map.
fn assert_space(bed: &Bed, file: &File, size: u64, blocks: u64) {
    let st = bed.sys.stat(file.fd()).unwrap();
    let map = if bed.is_real() && st.blocks > blocks { 8 } else { 0 };
    assert_eq!((st.size, st.blocks), (size, blocks + map));
}

pub fn reads_and_writes(bed: &Bed) {
    let none = ReadFlags::empty();
    let (sys, file) = (&bed.sys, bed.file(c"a", b"hello"));
    let fd = file.fd();
    let mut buf = [0; 8];
    assert_eq!(sys.pread(fd, &mut buf, 0, none), Ok(5));
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(sys.pread(fd, &mut buf, 3, none), Ok(2));
    assert_eq!(sys.pread(fd, &mut buf, 5, none), Ok(0));
    assert_eq!(sys.pread(fd, &mut buf, 1 << 40, none), Ok(0));
    assert_eq!(sys.pread(fd, &mut [], 0, none), Ok(0));
    assert_eq!(sys.pread(fd, &mut buf, u64::MAX, none), Err(Errno::INVAL));
    assert_eq!(sys.pread(fd, &mut buf, u64::MAX, ReadFlags::NOWAIT), Err(Errno::INVAL));
    assert_eq!(sys.pwrite(fd, b"x", u64::MAX), Err(Errno::INVAL));
    // A hole in between reads as zeros.
    assert_eq!(sys.pwrite(fd, b"end", 10_000), Ok(3));
    let mut wanted = vec![0; 10_003];
    wanted[..5].copy_from_slice(b"hello");
    wanted[10_000..].copy_from_slice(b"end");
    assert_eq!(bed.content(&file), wanted);
    match sys.pread(fd, &mut buf, 9_999, ReadFlags::NOWAIT) {
        Ok(n) => assert_eq!(&buf[..n], b"\0end"),
        Err(errno) => assert_eq!(errno, Errno::OPNOTSUPP),
    }
    let read_only = bed.open(c"a", RDONLY).unwrap();
    assert_eq!(sys.pwrite(read_only.fd(), b"x", 0), Err(Errno::BADF));
    let write_only = bed.open(c"a", OpenFlags::WRONLY).unwrap();
    assert_eq!(sys.pread(write_only.fd(), &mut buf, 0, none), Err(Errno::BADF));
    assert_eq!(sys.pread(bed.fd(), &mut buf, 0, none), Err(Errno::ISDIR));
    assert_eq!(sys.pwrite(-1, b"x", 0), Err(Errno::BADF));
}

pub fn appends(bed: &Bed) {
    bed.file(c"a", b"abc");
    let file = bed.open(c"a", OpenFlags::RDWR | OpenFlags::APPEND).unwrap();
    assert_eq!(bed.sys.pwrite(file.fd(), b"def", 0), Ok(3));
    assert_eq!(bed.content(&file), b"abcdef");
    bed.sys.set_flags(file.fd(), RDONLY).unwrap();
    assert_eq!(bed.sys.pwrite(file.fd(), b"X", 0), Ok(1));
    bed.sys.set_flags(file.fd(), OpenFlags::APPEND).unwrap();
    assert_eq!(bed.sys.pwrite(file.fd(), b"Y", 0), Ok(1));
    assert_eq!(bed.content(&file), b"XbcdefY");
}

pub fn truncates(bed: &Bed) {
    let (sys, file) = (&bed.sys, bed.file(c"a", &[7; 6000]));
    let fd = file.fd();
    bed.tick();
    let before = sys.stat(fd).unwrap();
    sys.ftruncate(fd, 5000).unwrap();
    let after = sys.stat(fd).unwrap();
    assert!(after.mtime > before.mtime && after.ctime > before.ctime && after.atime == before.atime);
    sys.ftruncate(fd, 5500).unwrap();
    let mut wanted = vec![7; 5500];
    wanted[5000..].fill(0);
    assert_eq!(bed.content(&file), wanted);
    sys.ftruncate(fd, 1 << 30).unwrap();
    assert_eq!(sys.stat(fd).unwrap().size, 1 << 30);
    sys.ftruncate(fd, 0).unwrap();
    assert_space(bed, &file, 0, 0);
    bed.tick();
    let before = sys.stat(fd).unwrap();
    sys.ftruncate(fd, 0).unwrap();
    assert!(sys.stat(fd).unwrap().mtime > before.mtime);
    assert_eq!(sys.ftruncate(fd, u64::MAX), Err(Errno::INVAL));
    let read_only = bed.open(c"a", RDONLY).unwrap();
    assert_eq!(sys.ftruncate(read_only.fd(), 0), Err(Errno::INVAL));
    assert_eq!(sys.ftruncate(bed.fd(), 0), Err(Errno::INVAL));
    if bed.is_ext4() {
        assert_eq!(sys.ftruncate(fd, 1 << 44), Err(Errno::FBIG));
        assert_eq!(sys.pwrite(fd, b"x", 1 << 44), Err(Errno::FBIG));
        sys.ftruncate(fd, (1 << 44) - 4096).unwrap();
        assert_eq!(sys.pwrite(fd, b"xyz", (1 << 44) - 4096 - 2), Ok(2));
    }
}

pub fn reserves_and_punches(bed: &Bed) {
    if !bed.is_ext4() {
        return;
    }
    let (sys, file) = (&bed.sys, bed.file(c"a", b""));
    let fd = file.fd();
    sys.fallocate(fd, 0, 1000, 9000).unwrap();
    assert_space(bed, &file, 10_000, 24);
    sys.fallocate(fd, KEEP, 0, 20_000).unwrap();
    assert_space(bed, &file, 10_000, 40);
    assert_eq!(bed.content(&file), vec![0; 10_000]);
    assert_eq!(sys.pwrite(fd, &[9; 10_000], 0), Ok(10_000));
    bed.tick();
    let before = sys.stat(fd).unwrap();
    sys.fallocate(fd, PUNCH, 100, 8100).unwrap();
    let after = sys.stat(fd).unwrap();
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
    assert_space(bed, &file, 10_000, 32);
    let mut wanted = vec![9; 10_000];
    wanted[100..8200].fill(0);
    assert_eq!(bed.content(&file), wanted);
    sys.fallocate(fd, ZERO, 9_000, 3_000).unwrap();
    wanted.resize(12_000, 0);
    wanted[9_000..].fill(0);
    assert_eq!(bed.content(&file), wanted);
    sys.fallocate(fd, ZERO | KEEP, 0, 50_000).unwrap();
    assert_eq!(bed.content(&file), vec![0; 12_000]);
    assert_space(bed, &file, 12_000, 104);
    sys.ftruncate(fd, 12_000).unwrap();
    assert_space(bed, &file, 12_000, 24);
    // A hole beyond the end does nothing; one past the end takes the last block whole.
    sys.fallocate(fd, PUNCH, 20_000, 4096).unwrap();
    assert_eq!(sys.pwrite(fd, &[1; 12_000], 0), Ok(12_000));
    sys.fallocate(fd, PUNCH, 8192, 12_001 - 8192).unwrap();
    assert_space(bed, &file, 12_000, 16);
    for (mode, offset, len, errno) in [
        (0, 0, 0, Errno::INVAL),
        (0, u64::MAX, 1, Errno::INVAL),
        (0, 0, u64::MAX, Errno::INVAL),
        (0, 1 << 44, 1, Errno::FBIG),
        (PUNCH & !KEEP, 0, 1, Errno::OPNOTSUPP),
        (PUNCH | ZERO, 0, 1, Errno::OPNOTSUPP),
        (1 << 20, 0, 1, Errno::OPNOTSUPP),
    ] {
        assert_eq!(sys.fallocate(fd, mode, offset, len), Err(errno), "{mode:#x} {offset} {len}");
    }
    let read_only = bed.open(c"a", RDONLY).unwrap();
    assert_eq!(sys.fallocate(read_only.fd(), 0, 0, 1), Err(Errno::BADF));
    assert_eq!(sys.fallocate(bed.fd(), 0, 0, 1), Err(Errno::BADF));
}

pub fn seeks_data_and_holes(bed: &Bed) {
    let (sys, file) = (&bed.sys, bed.file(c"a", b""));
    let fd = file.fd();
    sys.pwrite(fd, &[1; 4096], 2 * 4096).unwrap();
    sys.pwrite(fd, &[1], 6 * 4096).unwrap();
    sys.ftruncate(fd, 9 * 4096 + 5).unwrap();
    for (to, wanted) in [
        (SeekFrom::Data(0), Ok(2 * 4096)),
        (SeekFrom::Data(2 * 4096 + 7), Ok(2 * 4096 + 7)),
        (SeekFrom::Data(3 * 4096), Ok(6 * 4096)),
        (SeekFrom::Data(7 * 4096), Err(Errno::NXIO)),
        (SeekFrom::Data(10 * 4096), Err(Errno::NXIO)),
        (SeekFrom::Hole(0), Ok(0)),
        (SeekFrom::Hole(2 * 4096 + 7), Ok(3 * 4096)),
        (SeekFrom::Hole(6 * 4096), Ok(7 * 4096)),
        (SeekFrom::Hole(9 * 4096 + 4), Ok(9 * 4096 + 4)),
        (SeekFrom::Hole(9 * 4096 + 5), Err(Errno::NXIO)),
        (SeekFrom::Start(77), Ok(77)),
        (SeekFrom::Start(u64::MAX), Err(Errno::INVAL)),
    ] {
        assert_eq!(sys.seek(fd, to), wanted, "{to:?}");
    }
    let full = bed.file(c"b", &[1; 5000]);
    assert_eq!(sys.seek(full.fd(), SeekFrom::Hole(10)), Ok(5000));
    assert_eq!(sys.seek(full.fd(), SeekFrom::Data(4999)), Ok(4999));
    assert_eq!(sys.seek(bed.fd(), SeekFrom::Start(0)), Ok(0));
}

pub fn copies(bed: &Bed) {
    let sys = &bed.sys;
    let content: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
    let from = bed.file(c"a", &content);
    let to = bed.file(c"b", b"start");
    assert_eq!(sys.copy_file_range(from.fd(), 100, to.fd(), 5, 5000), Ok(5000));
    let wanted = [b"start", &content[100..5100]].concat();
    assert_eq!(bed.content(&to), wanted);
    assert_eq!(sys.copy_file_range(from.fd(), 9_000, to.fd(), 0, 5000), Ok(1000));
    assert_eq!(sys.copy_file_range(from.fd(), 10_000, to.fd(), 0, 10), Ok(0));
    assert_eq!(sys.copy_file_range(from.fd(), 0, to.fd(), 0, 0), Ok(0));
    assert_eq!(sys.copy_file_range(from.fd(), 0, from.fd(), 50, 100), Err(Errno::INVAL));
    assert_eq!(sys.copy_file_range(from.fd(), 0, from.fd(), 20_000, 100), Ok(100));
    assert_eq!(sys.copy_file_range(bed.fd(), 0, to.fd(), 0, 100), Err(Errno::ISDIR));
    let read_only = bed.open(c"b", RDONLY).unwrap();
    assert_eq!(sys.copy_file_range(from.fd(), 0, read_only.fd(), 0, 100), Err(Errno::BADF));
    let append = bed.open(c"b", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    assert_eq!(sys.copy_file_range(from.fd(), 0, append.fd(), 0, 100), Err(Errno::BADF));
}

pub fn direct_io_is_aligned(bed: &Bed) {
    if !bed.is_ext4() {
        return;
    }
    #[repr(align(4096))]
    struct Block([u8; 8192]);
    let sys = &bed.sys;
    let file = bed.open(c"a", OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::DIRECT).unwrap();
    let mut block = Box::new(Block([3; 8192]));
    assert_eq!(sys.pwrite(file.fd(), &block.0, 4096), Ok(8192));
    assert_eq!(sys.pread(file.fd(), &mut block.0[..4096], 0, ReadFlags::empty()), Ok(4096));
    assert_eq!(block.0[..4096], [0; 4096]);
    assert_eq!(sys.pread(file.fd(), &mut block.0[..4096], 100, ReadFlags::empty()), Err(Errno::INVAL));
    assert_eq!(sys.pwrite(file.fd(), &block.0[..4096], 7), Err(Errno::INVAL));
    sys.set_flags(file.fd(), RDONLY).unwrap();
    assert_eq!(sys.pwrite(file.fd(), &block.0[..100], 7), Ok(100));
    sys.set_flags(file.fd(), OpenFlags::DIRECT).unwrap();
    assert_eq!(sys.pwrite(file.fd(), &block.0[..100], 7), Err(Errno::INVAL));
    assert_eq!(bed.open(c".", OpenFlags::DIRECT).unwrap_err(), Errno::INVAL);
}

pub fn syncs(bed: &Bed) {
    let file = bed.file(c"a", b"x");
    assert_eq!(bed.sys.fsync(file.fd(), false), Ok(()));
    assert_eq!(bed.sys.fsync(file.fd(), true), Ok(()));
    assert_eq!(bed.sys.fsync(bed.fd(), false), Ok(()));
    assert_eq!(bed.sys.syncfs(bed.fd()), Ok(()));
    let sync = bed.open(c"a", OpenFlags::WRONLY | OpenFlags::DSYNC).unwrap();
    assert_eq!(bed.sys.pwrite(sync.fd(), b"yy", 0), Ok(2));
    assert_eq!(bed.content(&file), b"yy");
}
