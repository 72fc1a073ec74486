//! Containers, their volumes and networks.

use super::*;

enumeration! {
    SecretType {
        Unknown = 0 "UNKNOWN",
        Reference = 1 "REFERENCE",
        Value = 2 "VALUE",
    }
}

enumeration! {
    ImageType {
        Appc = 1 "APPC",
        Docker = 2 "DOCKER",
    }
}

enumeration! {
    MountPropagationMode {
        Unknown = 0 "UNKNOWN",
        HostToContainer = 1 "HOST_TO_CONTAINER",
        Bidirectional = 2 "BIDIRECTIONAL",
    }
}

enumeration! {
    VolumeMode {
        Rw = 1 "RW",
        Ro = 2 "RO",
    }
}

enumeration! {
    VolumeSourceType {
        Unknown = 0 "UNKNOWN",
        DockerVolume = 1 "DOCKER_VOLUME",
        HostPath = 4 "HOST_PATH",
        SandboxPath = 2 "SANDBOX_PATH",
        Secret = 3 "SECRET",
        CsiVolume = 5 "CSI_VOLUME",
    }
}

enumeration! {
    VolumeSourceSandboxPathType {
        Unknown = 0 "UNKNOWN",
        Own = 1 "SELF",
        Parent = 2 "PARENT",
    }
}

enumeration! {
    NetworkInfoProtocol {
        Ipv4 = 1 "IPv4",
        Ipv6 = 2 "IPv6",
    }
}

enumeration! {
    CapabilityInfoCapability {
        Unknown = 0 "UNKNOWN",
        Chown = 1000 "CHOWN",
        DacOverride = 1001 "DAC_OVERRIDE",
        DacReadSearch = 1002 "DAC_READ_SEARCH",
        Fowner = 1003 "FOWNER",
        Fsetid = 1004 "FSETID",
        Kill = 1005 "KILL",
        Setgid = 1006 "SETGID",
        Setuid = 1007 "SETUID",
        Setpcap = 1008 "SETPCAP",
        LinuxImmutable = 1009 "LINUX_IMMUTABLE",
        NetBindService = 1010 "NET_BIND_SERVICE",
        NetBroadcast = 1011 "NET_BROADCAST",
        NetAdmin = 1012 "NET_ADMIN",
        NetRaw = 1013 "NET_RAW",
        IpcLock = 1014 "IPC_LOCK",
        IpcOwner = 1015 "IPC_OWNER",
        SysModule = 1016 "SYS_MODULE",
        SysRawio = 1017 "SYS_RAWIO",
        SysChroot = 1018 "SYS_CHROOT",
        SysPtrace = 1019 "SYS_PTRACE",
        SysPacct = 1020 "SYS_PACCT",
        SysAdmin = 1021 "SYS_ADMIN",
        SysBoot = 1022 "SYS_BOOT",
        SysNice = 1023 "SYS_NICE",
        SysResource = 1024 "SYS_RESOURCE",
        SysTime = 1025 "SYS_TIME",
        SysTtyConfig = 1026 "SYS_TTY_CONFIG",
        Mknod = 1027 "MKNOD",
        Lease = 1028 "LEASE",
        AuditWrite = 1029 "AUDIT_WRITE",
        AuditControl = 1030 "AUDIT_CONTROL",
        Setfcap = 1031 "SETFCAP",
        MacOverride = 1032 "MAC_OVERRIDE",
        MacAdmin = 1033 "MAC_ADMIN",
        Syslog = 1034 "SYSLOG",
        WakeAlarm = 1035 "WAKE_ALARM",
        BlockSuspend = 1036 "BLOCK_SUSPEND",
        AuditRead = 1037 "AUDIT_READ",
        Perfmon = 1038 "PERFMON",
        Bpf = 1039 "BPF",
        CheckpointRestore = 1040 "CHECKPOINT_RESTORE",
    }
}

enumeration! {
    LinuxInfoIpcMode {
        Unknown = 0 "UNKNOWN",
        Private = 1 "PRIVATE",
        ShareParent = 2 "SHARE_PARENT",
    }
}

enumeration! {
    RLimitInfoRLimitType {
        Unknown = 0 "UNKNOWN",
        As = 1 "RLMT_AS",
        Core = 2 "RLMT_CORE",
        Cpu = 3 "RLMT_CPU",
        Data = 4 "RLMT_DATA",
        Fsize = 5 "RLMT_FSIZE",
        Locks = 6 "RLMT_LOCKS",
        Memlock = 7 "RLMT_MEMLOCK",
        Msgqueue = 8 "RLMT_MSGQUEUE",
        Nice = 9 "RLMT_NICE",
        Nofile = 10 "RLMT_NOFILE",
        Nproc = 11 "RLMT_NPROC",
        Rss = 12 "RLMT_RSS",
        Rtprio = 13 "RLMT_RTPRIO",
        Rttime = 14 "RLMT_RTTIME",
        Sigpending = 15 "RLMT_SIGPENDING",
        Stack = 16 "RLMT_STACK",
    }
}

enumeration! {
    ContainerInfoType {
        Docker = 1 "DOCKER",
        Mesos = 2 "MESOS",
    }
}

enumeration! {
    ContainerInfoDockerInfoNetwork {
        Host = 1 "HOST",
        Bridge = 2 "BRIDGE",
        None = 3 "NONE",
        User = 4 "USER",
    }
}

messages! {
    Credential {
        1 principal: req string;
        2 secret: opt string;
    }

    Secret {
        1 r#type: opt enum SecretType;
        2 reference: opt msg SecretReference;
        3 value: opt msg SecretValue;
    }

    SecretReference {
        1 name: req string;
        2 key: opt string;
    }

    SecretValue {
        1 data: req bytes;
    }

    Image {
        1 r#type: req enum ImageType;
        2 appc: opt msg ImageAppc;
        3 docker: opt msg ImageDocker;
        4 cached: opt bool = true;
    }

    ImageAppc {
        1 name: req string;
        2 id: opt string;
        3 labels: opt msg Labels;
    }

    ImageDocker {
        1 name: req string;
        2 credential: opt msg Credential;
        3 config: opt msg Secret;
    }

    MountPropagation {
        1 mode: opt enum MountPropagationMode;
    }

    Volume {
        3 mode: req enum VolumeMode;
        1 container_path: req string;
        2 host_path: opt string;
        4 image: opt boxed Image;
        5 source: opt boxed VolumeSource;
    }

    VolumeSource {
        1 r#type: opt enum VolumeSourceType;
        2 docker_volume: opt msg VolumeSourceDockerVolume;
        5 host_path: opt msg VolumeSourceHostPath;
        3 sandbox_path: opt msg VolumeSourceSandboxPath;
        4 secret: opt msg Secret;
        6 csi_volume: opt msg VolumeSourceCsiVolume;
    }

    VolumeSourceDockerVolume {
        1 driver: opt string;
        2 name: req string;
        3 driver_options: opt msg Parameters;
    }

    VolumeSourceHostPath {
        1 path: req string;
        2 mount_propagation: opt msg MountPropagation;
    }

    VolumeSourceSandboxPath {
        1 r#type: opt enum VolumeSourceSandboxPathType;
        2 path: req string;
    }

    VolumeSourceCsiVolume {
        1 plugin_name: req string;
    }

    NetworkInfo {
        5 ip_addresses: rep msg NetworkInfoIpAddress;
        6 name: opt string;
        3 groups: rep string;
        4 labels: opt msg Labels;
        7 port_mappings: rep msg NetworkInfoPortMapping;
    }

    NetworkInfoIpAddress {
        1 protocol: opt enum NetworkInfoProtocol = NetworkInfoProtocol::Ipv4 as i32;
        2 ip_address: opt string;
    }

    NetworkInfoPortMapping {
        1 host_port: req uint32;
        2 container_port: req uint32;
        3 protocol: opt string;
    }

    CapabilityInfo {
        1 capabilities: rep enum CapabilityInfoCapability;
    }

    SeccompInfo {
        1 profile_name: opt string;
        2 unconfined: opt bool;
    }

    LinuxInfo {
        1 capability_info: opt msg CapabilityInfo;
        2 bounding_capabilities: opt msg CapabilityInfo;
        3 effective_capabilities: opt msg CapabilityInfo;
        4 share_pid_namespace: opt bool;
        5 seccomp: opt msg SeccompInfo;
        6 ipc_mode: opt enum LinuxInfoIpcMode;
        7 shm_size: opt uint32;
        8 share_cgroups: opt bool = true;
    }

    RLimitInfo {
        1 rlimits: rep msg RLimitInfoRLimit;
    }

    RLimitInfoRLimit {
        1 r#type: opt enum RLimitInfoRLimitType;
        2 hard: opt uint64;
        3 soft: opt uint64;
    }

    TtyInfo {
        1 window_size: opt msg TtyInfoWindowSize;
    }

    TtyInfoWindowSize {
        1 rows: req uint32;
        2 columns: req uint32;
    }

    ContainerInfo {
        1 r#type: req enum ContainerInfoType;
        2 volumes: rep msg Volume;
        4 hostname: opt string;
        3 docker: opt msg ContainerInfoDockerInfo;
        5 mesos: opt msg ContainerInfoMesosInfo;
        7 network_infos: rep msg NetworkInfo;
        8 linux_info: opt msg LinuxInfo;
        9 rlimit_info: opt msg RLimitInfo;
        10 tty_info: opt msg TtyInfo;
    }

    ContainerInfoDockerInfo {
        1 image: req string;
        2 network: opt enum ContainerInfoDockerInfoNetwork = ContainerInfoDockerInfoNetwork::Host as i32;
        3 port_mappings: rep msg ContainerInfoDockerInfoPortMapping;
        4 privileged: opt bool = false;
        5 parameters: rep msg Parameter;
        6 force_pull_image: opt bool;
        7 volume_driver: opt string;
    }

    ContainerInfoDockerInfoPortMapping {
        1 host_port: req uint32;
        2 container_port: req uint32;
        3 protocol: opt string;
    }

    ContainerInfoMesosInfo {
        1 image: opt msg Image;
    }

    ContainerStatus {
        4 container_id: opt msg ContainerId;
        1 network_infos: rep msg NetworkInfo;
        2 cgroup_info: opt msg CgroupInfo;
        3 executor_pid: opt uint32;
    }

    CgroupInfo {
        1 net_cls: opt msg CgroupInfoNetCls;
    }

    CgroupInfoNetCls {
        1 classid: opt uint32;
    }
}
