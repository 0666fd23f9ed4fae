//! Lock files that name processes which have nothing to do with this database.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use super::*;

/// A process of no interest that is killed with the test.
struct Stranger(Child);

impl Stranger {
    fn sleep(uid: u32) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600");
        if geteuid().is_root() {
            command.uid(uid);
        }
        Self(command.spawn().expect("a process"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("a status").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates a database and stops its server.
async fn stopped_database(data: &Path) {
    let mut process = Pictier::new(data).start();
    upload_as_admin(&process.origin().await).await;
    assert!(process.stop().await.success());
}

/// Writes both lock files of a server as if this process had been it.
fn write_stale_locks(data: &Path, pid: &str) {
    let folder = data.join("postgres");
    let cluster = folder.join("cluster");
    let run = folder.join("run");
    let lock = |shared_memory| {
        format!(
            "{pid}\n{}\n1700000000\n5432\n{}\n{shared_memory}",
            cluster.display(),
            run.display()
        )
    };
    fs::write(cluster.join("postmaster.pid"), lock("\n  1234 5\nready   \n")).expect("a lock file");
    fs::write(run.join(".s.PGSQL.5432.lock"), lock("\n")).expect("a lock file");
}

async fn expect_a_start(data: &Path) -> Running {
    let mut process = Pictier::new(data).start();
    let admin = Client::new(&process.origin().await);
    admin.log_in("admin", "admin").await.expect(StatusCode::OK);
    assert_eq!(admin.get("/api/images").await.json().as_array().map(Vec::len), Some(1));
    process
}

#[tokio::test]
async fn starts_although_the_lock_files_name_a_living_process() {
    let data = folder();
    stopped_database(data.path()).await;
    for uid in [geteuid().as_raw(), NOBODY] {
        let mut stranger = Stranger::sleep(uid);
        write_stale_locks(data.path(), &stranger.pid().to_string());
        assert!(expect_a_start(data.path()).await.stop().await.success());
        assert!(stranger.lives(), "a process that is no server was signalled");
    }
}

#[tokio::test]
async fn starts_with_lock_files_that_no_server_would_take() {
    let data = folder();
    stopped_database(data.path()).await;
    let stranger = Stranger::sleep(geteuid().as_raw());
    for text in
        ["", "\0\0\0\0", "0", "soon", "99999999999999999999", &format!("-{}", stranger.pid())]
    {
        write_stale_locks(data.path(), text);
        if text.is_empty() {
            fs::write(data.path().join("postgres/cluster/postmaster.pid"), "")
                .expect("a lock file");
        }
        assert!(expect_a_start(data.path()).await.stop().await.success(), "{text:?}");
    }
}

/// As in a copy of a folder whose server was running.
#[tokio::test]
async fn leaves_the_server_of_another_folder_alone() {
    let (theirs, ours) = (folder(), folder());
    stopped_database(ours.path()).await;
    let mut other = Pictier::new(theirs.path()).start();
    let other_origin = other.origin().await;
    let other_server = postmaster(theirs.path()).expect("a server");
    let text = fs::read_to_string(theirs.path().join("postgres/cluster/postmaster.pid"))
        .expect("a lock file");
    fs::write(ours.path().join("postgres/cluster/postmaster.pid"), text).expect("a lock file");
    write_socket_lock(ours.path(), other_server);
    let _process = expect_a_start(ours.path()).await;
    assert_eq!(postmaster(theirs.path()), Some(other_server));
    upload_as_admin(&other_origin).await;
}

fn write_socket_lock(data: &Path, pid: Pid) {
    let lock = data.join("postgres/run/.s.PGSQL.5432.lock");
    fs::write(lock, format!("{pid}\n/elsewhere\n1700000000\n5432\n/elsewhere\n\n"))
        .expect("a lock file");
}

#[tokio::test]
async fn a_copy_of_the_folder_of_a_running_server_starts_beside_it() {
    let (theirs, ours) = (folder(), folder());
    let mut other = Pictier::new(theirs.path()).start();
    upload_as_admin(&other.origin().await).await;
    let copy = Command::new("cp").arg("-a").arg(theirs.path().join(".")).arg(ours.path()).status();
    assert!(copy.expect("a copy").success());
    let _process = expect_a_start(ours.path()).await;
    assert_ne!(postmaster(theirs.path()), postmaster(ours.path()));
}

/// Somebody repairs the data; they are not disturbed, and their lock file stays.
#[tokio::test]
async fn refuses_a_folder_that_a_server_without_postmaster_uses() {
    if !geteuid().is_root() {
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut process = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    process.origin().await;
    assert!(process.stop().await.success());
    let cluster = data.join("postgres/cluster");
    let mut repair = Command::new(postgres_program());
    repair
        .arg("--single")
        .arg("-D")
        .arg(&cluster)
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    repair.uid(NOBODY).gid(NOBODY).current_dir("/");
    let mut by_hand = Stranger(repair.spawn().expect("a server"));
    let lock = cluster.join("postmaster.pid");
    while !fs::read_to_string(&lock).is_ok_and(|text| text.lines().count() > 1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("(process {})", by_hand.pid())) && said.contains("Stop it"),
        "{said}"
    );
    assert!(by_hand.lives() && lock.exists());
}

/// As in most containers, where root has fewer rights and no user namespaces, and the server is
/// another user's.
#[tokio::test]
async fn ends_what_is_left_of_another_users_server_without_the_right_to_look_at_it() {
    if !geteuid().is_root() {
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut process = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    process.origin().await;
    assert!(process.stop().await.success());
    let weak = || {
        let program = program.to_str().expect("a path in UTF-8");
        let weakened = ["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", program];
        Pictier::from(Path::new("setpriv"), &data).args(&weakened).in_folder(folder.path()).start()
    };
    let mut first = weak();
    first.origin().await;
    let server = postmaster(&data).expect("a server");
    // it does not notice the end of its owner, nor is its lock file of any help
    kill_process(server, Signal::STOP).expect("a stopped server");
    first.kill();
    fs::remove_file(data.join("postgres/cluster/postmaster.pid")).expect("no lock file");
    let mut second = weak();
    second.origin().await;
    assert!(fs::read_link(format!("/proc/{server}/cwd")).is_err(), "the server is left");
    assert!(second.stop().await.success());
}

/// A server that an operator started by hand has no owner that waits for it.
#[tokio::test]
async fn ends_a_server_of_this_folder_before_it_starts_its_own() {
    if !geteuid().is_root() {
        return;
    }
    let (folder, program, data) = for_other_user(NOBODY);
    let mut process = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    upload_as_admin(&process.origin().await).await;
    assert!(process.stop().await.success());
    let cluster = data.join("postgres/cluster");
    let mut postgres = Command::new(postgres_program());
    postgres.arg("-D").arg(&cluster).arg("-k").arg(data.join("postgres/run"));
    postgres.args(["-c", "listen_addresses="]).uid(NOBODY).gid(NOBODY).current_dir("/");
    let mut by_hand = Stranger(postgres.spawn().expect("a server"));
    while !data.join("postgres/run/.s.PGSQL.5432").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut process = Pictier::from(&program, &data).user(NOBODY).in_folder(folder.path()).start();
    process.origin().await;
    assert!(!by_hand.lives());
    assert!(process.stop().await.success());
}
