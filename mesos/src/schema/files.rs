//! Files, as the operator APIs of masters and of agents tell of them.

use super::*;

messages! {
    CallListFiles {
        1 path: req string;
    }

    CallReadFile {
        1 path: req string;
        2 offset: req uint64;
        3 length: opt uint64;
    }

    FileInfo {
        1 path: req string;
        2 nlink: opt int32;
        3 size: opt uint64;
        4 mtime: opt msg TimeInfo;
        5 mode: opt uint32;
        6 uid: opt string;
        7 gid: opt string;
    }

    ResponseListFiles {
        1 file_infos: all msg FileInfo;
    }

    ResponseReadFile {
        1 size: req uint64;
        2 data: req bytes;
    }
}
