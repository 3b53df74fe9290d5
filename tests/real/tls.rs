//! Stock clients with certificates, on Kiln and on `glusterfsd`: each is let in by both or by neither.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::serve::session;
use crate::support::{Fate, KilnServer, Scratch, StockClient, free_port, kiln, run, shell, signal, wait_for};

/// Makes keys and certificates as an administrator does: `own` and `other` are authorities, `server`, `ann`, and `eve` are of
/// `own`, `stranger` of `other`. `self` has signed itself and is listed, `expired` is over, `usage` is for servers only;
/// `gone` is revoked, in `lists`; `middle` is an authority below `own`, and `below` its client, which brings it along; `deep` is one further down.
const MAKE: &str = r#"
cat > cnf <<'END'
[req]
distinguished_name = dn
x509_extensions = ca
[dn]
[ca]
basicConstraints = critical,CA:TRUE
[usage]
basicConstraints = CA:FALSE
extendedKeyUsage = critical,serverAuth
keyUsage = critical,keyEncipherment
END
export OPENSSL_CONF=$PWD/cnf
key() { openssl genrsa -out $1.key 2048 2>/dev/null; }
authority() { key $1; openssl req -x509 -new -key $1.key -subj "/CN=$1" -days 30 -out $1.pem; }
of() { # authority name [arguments]
    key $2; openssl req -new -key $2.key -subj "/O=kiln/CN=$2" -out $2.csr
    openssl x509 -req -in $2.csr -CA $1.pem -CAkey $1.key -CAcreateserial -out $2.pem -days 30 "${@:3}" 2>/dev/null
}
authority own; authority other; authority self
of own server; of own ann; of own eve; of other stranger
of own usage -extfile cnf -extensions usage
of own middle -extfile cnf -extensions ca; of middle below; cat middle.pem >> below.pem
of middle lower -extfile cnf -extensions ca; of lower deep; cat lower.pem middle.pem >> deep.pem
key expired; openssl req -new -key expired.key -subj /CN=expired -out expired.csr
touch index; echo 01 > serial
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > cacnf
openssl ca -batch -config cacnf -cert own.pem -keyfile own.key -in expired.csr -out expired.pem -notext \
    -startdate 20200101000000Z -enddate 20210101000000Z 2>/dev/null
cat own.pem self.pem > all.ca
own="-config cacnf -cert own.pem -keyfile own.key"; of own gone
openssl ca $own -revoke gone.pem 2>/dev/null; mkdir lists; openssl ca $own -gencrl -crldays 30 -out lists/own.crl 2>/dev/null
openssl rehash lists
"#;

/// Certificates, and both servers on the same volfile.
struct Pair {
    scratch: Scratch,
    stock: Option<(Child, u16)>,
    kiln: Option<KilnServer>,
}

impl Pair {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("certs")).unwrap();
        fs::create_dir(scratch.join("stock-brick")).unwrap();
        shell(&scratch.join("certs"), MAKE);
        Self { scratch, stock: None, kiln: None }
    }

    fn file(&self, name: &str) -> String {
        self.scratch.join("certs").join(name).display().to_string()
    }

    /// The options of one side: its certificate, and whose it takes.
    fn tls(&self, own: &str) -> String {
        format!(
            " option transport.socket.ssl-enabled on\n option transport.socket.ssl-own-cert {}\n \
             option transport.socket.ssl-private-key {}\n option transport.socket.ssl-ca-list {}\n",
            self.file(&format!("{own}.pem")),
            self.file(&format!("{own}.key")),
            self.file("all.ca")
        )
    }

    fn volfile(&self, name: &str, brick: PathBuf, port: u16, rules: &str) -> PathBuf {
        let path = self.scratch.join(name);
        let text = format!(
            "volume posix\n type storage/posix\n option directory {}\nend-volume\n\
             volume locks\n type features/locks\n subvolumes posix\nend-volume\n\
             volume brick\n type debug/io-stats\n subvolumes locks\nend-volume\n\
             volume server\n type protocol/server\n option transport-type tcp\n \
             option transport.socket.listen-port {port}\n{rules} subvolumes brick\nend-volume\n",
            brick.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts both with these rules.
    fn serve(&mut self, rules: &str) {
        self.stop();
        let port = free_port();
        let volfile = self.volfile("stock.vol", self.scratch.join("stock-brick"), port, rules);
        let child = Command::new("glusterfsd")
            .args(["-N", "-l"])
            .arg(self.scratch.join("stock.log"))
            .arg("-f")
            .arg(volfile)
            .arg("--pid-file")
            .arg(self.scratch.join("stock.pid"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.stock = Some((child, port));
        wait_for("glusterfsd to listen", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let port = free_port();
        let volfile = self.volfile("kiln.vol", self.scratch.brick(), port, rules);
        self.kiln =
            Some(KilnServer::at(&self.scratch, port, |command| _ = command.arg("--volfile").arg(volfile)));
    }

    fn kiln(&self) -> &KilnServer {
        self.kiln.as_ref().unwrap()
    }

    fn stop(&mut self) {
        if let Some((mut child, _)) = self.stock.take() {
            signal(child.id(), "TERM");
            let _ = child.wait();
        }
        if let Some(kiln) = self.kiln.take() {
            kiln.stop();
        }
    }

    fn options(port: u16, more: &str) -> String {
        format!(
            " option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port {port}\n \
             option remote-subvolume brick\n{more}"
        )
    }

    /// What becomes of a client at both, which must be the same.
    fn fate(&self, name: &str, more: &str, expected: Fate) {
        let limit = Duration::from_secs(if expected == Fate::Trying { 5 } else { 30 });
        let (_, stock) = self.stock.as_ref().unwrap();
        let ports = [("stock", *stock), ("kiln", self.kiln().port)];
        let [stock, kiln] = std::thread::scope(|scope| {
            ports
                .map(|(kind, port)| {
                    let (options, mnt) = (Self::options(port, more), format!("{name}-{kind}"));
                    scope.spawn(move || StockClient::fate(&self.scratch, &mnt, &options, limit))
                })
                .map(|client| client.join().unwrap())
        });
        assert_eq!(stock.0, expected, "{name} at glusterfsd:\n{}", stock.1);
        assert_eq!(kiln.0, expected, "{name} at kiln:\n{}\n{}", kiln.1, self.kiln().log());
        if expected == Fate::Ended {
            assert!(kiln.1.contains("Authentication failed"), "{}", kiln.1);
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.stock.take() {
            signal(child.id(), "TERM");
            let _ = child.wait();
        }
    }
}

#[test]
fn certificates_are_accepted_and_refused_as_by_glusterfsd() {
    let mut pair = Pair::new();
    let server = pair.tls("server");
    pair.serve(&format!("{server} option auth.addr.brick.allow *\n"));
    for (own, expected) in [
        ("ann", Fate::Mounted),
        ("self", Fate::Mounted),
        ("usage", Fate::Mounted),
        ("below", Fate::Mounted),
        ("deep", Fate::Trying),
        ("stranger", Fate::Trying),
        ("expired", Fate::Trying),
    ] {
        pair.fate(own, &pair.tls(own), expected);
    }
    pair.fate("plaintext", "", Fate::Trying);
    let log = pair.kiln().log();
    assert!(log.contains("does not speak TLS") || log.contains("TLS: "), "{log}");
    // The stock client cannot be without a certificate; another one can.
    for version in ["-tls1_2", "-tls1_3"] {
        let address = format!("127.0.0.1:{}", pair.kiln().port);
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", version, "-connect", &address]).stdin(Stdio::null());
        let output = client.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("alert certificate required") || told.contains("alert handshake failure"),
            "{told}"
        );
    }
    for version in ["-tls1", "-tls1_1"] {
        let address = format!("127.0.0.1:{}", pair.kiln().port);
        let mut client = Command::new("openssl");
        client
            .args(["s_client", "-cipher", "ALL:@SECLEVEL=0", version, "-connect", &address])
            .stdin(Stdio::null());
        assert!(!client.output().unwrap().status.success(), "{version} is accepted");
    }
    // With lists of revoked certificates every authority has to have one.
    let lists = format!(" option transport.socket.ssl-crl-path {}\n", pair.file("lists"));
    pair.serve(&format!("{server}{lists} option auth.addr.brick.allow *\n"));
    for (own, expected) in [("gone", Fate::Trying), ("ann", Fate::Mounted), ("self", Fate::Trying)] {
        pair.fate(&format!("{own}-listed"), &pair.tls(own), expected);
    }
    pair.stop();
}

/// More certificates, each with one thing that is odd; `NAME.pem` is the client's, `NAME.chain` what it sends along.
const ODD: &str = r#"
cat > oddcnf <<'END'
[req]
distinguished_name = dn
[dn]
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
[none]
[signs]
keyUsage = critical,keyCertSign
[silent]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature
[no]
basicConstraints = CA:FALSE
[zero]
basicConstraints = critical,CA:TRUE,pathlen:0
[odd]
1.2.3.4 = critical,DER:05:00
[known]
1.2.3.4 = DER:05:00
[akid]
2.5.29.35 = DER:30:06:80:04:01:02:03:04
[proxy]
proxyCertInfo = language:id-ppl-anyLanguage,pathlen:3,policy:text:x
[names]
basicConstraints = critical,CA:TRUE
nameConstraints = critical,excluded;dirName:excluded
[excluded]
O = kiln
END
export OPENSSL_CONF=$PWD/oddcnf
key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
top() { # name section
    key $1; openssl req -x509 -new -key $1.key -subj "/CN=$1" -days 30 -extensions $2 -out $1.pem; cat $1.pem >> odd.ca
}
of() { # authority name section [arguments]
    [ -e $2.key ] || key $2; openssl req -new -key $2.key -subj "/O=kiln/CN=$2" -out $2.csr
    openssl x509 -req -in $2.csr -CA $1.pem -CAkey $1.key -CAcreateserial -out $2.pem -days 30 -extfile oddcnf -extensions $3 "${@:4}" 2>/dev/null
    cat $1.pem $1.chain > $2.chain 2>/dev/null || true
}
dated() { # authority name from until section
    key $2; openssl req -new -key $2.key -subj "/CN=$2" -out $2.csr; rm -f index2*; touch index2; echo $RANDOM$RANDOM | cut -c1-4 > serial2
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index2\nserial=serial2\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > datecnf
    cat oddcnf >> datecnf
    openssl ca -batch -config datecnf -cert $1.pem -keyfile $1.key -in $2.csr -out $2.pem -notext -extensions $5 -startdate $3 -enddate $4 2>/dev/null
    cat $1.pem > $2.chain
}
cp all.ca odd.ca
top full authority; of full good none; of full known known
dated full notyet 20400101000000Z 20410101000000Z none; dated full over 20200101000000Z 20210101000000Z none
dated full oldmid 20200101000000Z 20210101000000Z authority; of oldmid below-oldmid none
of full odd odd; of full oddmid odd; of full akid akid; of full proxy proxy
of full plainmid known; of plainmid below-plain none
of full nomid no; of nomid below-no none
of full signsmid signs; of signsmid below-signs none
of full silentmid silent; of silentmid below-silent none
of full zeromid zero; of zeromid below-zero none; of zeromid zerosub authority; of zerosub below-zerosub none
of full names names; of names below-names none
top signstop signs; of signstop of-signstop none
top nonetop known; of nonetop of-nonetop none; top notop no; of notop of-notop none
key v1; openssl req -new -key v1.key -subj /CN=v1 -out v1.csr
openssl x509 -req -in v1.csr -signkey v1.key -days 30 -out v1.pem 2>/dev/null; cat v1.pem >> odd.ca; of v1 of-v1 none
openssl genrsa -out small.key 1024 2>/dev/null; of full small none; of full sha1 none -sha1
openssl genrsa -out rsa.key 2048 2>/dev/null; of full rsa none

of own deep1 authority; of deep1 deep2 authority; of deep2 deep3 authority; of deep3 deep4 authority; of deep4 below-deep4 none
"#;

/// Whether a server lets a client with this certificate through the handshake.
fn shakes_hands(pair: &Pair, port: u16, name: &str) -> bool {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-tls1_2", "-cipher", "ALL:@SECLEVEL=0"]);
    client.args(["-connect", &format!("127.0.0.1:{port}")]);
    client.args(["-cert", &pair.file(&format!("{name}.pem")), "-key", &pair.file(&format!("{name}.key"))]);
    let chain = pair.file(&format!("{name}.chain"));
    if fs::exists(&chain).unwrap() {
        client.args(["-cert_chain", &chain]);
    }
    client.stdin(Stdio::null()).output().unwrap().status.success()
}

/// Stricter than OpenSSL is allowed, where it says so; anything else is not.
#[test]
fn odd_chains_are_judged_as_by_glusterfsd() {
    let mut pair = Pair::new();
    shell(&pair.scratch.join("certs"), ODD);
    let server = pair.tls("server").replace("all.ca", "odd.ca");
    let depth = " option transport.socket.ssl-cert-depth 3\n";
    pair.serve(&format!("{server}{depth} option auth.addr.brick.allow *\n"));
    let ports = [pair.stock.as_ref().unwrap().1, pair.kiln().port];
    let mut differ = Vec::new();
    for (name, expected) in [
        ("good", true),
        ("known", true),
        ("rsa", true),
        ("below-zero", true),
        ("of-signstop", true),
        ("of-v1", true),
        ("nonetop", true),
        ("notop", true),
        ("deep3", true),
        ("deep4", true),
        ("notyet", false),
        ("over", false),
        ("below-oldmid", false),
        ("odd", false),
        ("akid", false),
        ("proxy", false),
        ("below-plain", false),
        ("below-no", false),
        ("below-signs", false),
        ("below-silent", false),
        ("below-zerosub", false),
        ("below-names", false),
        ("of-nonetop", false),
        ("of-notop", false),
        ("below-deep4", false),
        ("small", false),
        ("sha1", false),
        ("stranger", false),
    ] {
        let found = ports.map(|port| shakes_hands(&pair, port, name));
        if found != [expected; 2] {
            differ.push(format!("{name}: {found:?} at glusterfsd and kiln, {expected} was expected"));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    // A list of revoked certificates that is out of date although still valid, and a newer one.
    shell(&pair.scratch.join("certs"), NEWER);
    let lists = format!(" option transport.socket.ssl-crl-path {}\n", pair.file("newer"));
    pair.serve(&format!("{}{lists} option auth.addr.brick.allow *\n", pair.tls("server")));
    let ports = [pair.stock.as_ref().unwrap().1, pair.kiln().port];
    for (name, expected) in [("ann", true), ("gone", false), ("late", false)] {
        assert_eq!(ports.map(|port| shakes_hands(&pair, port, name)), [expected; 2], "{name}");
    }
    pair.stop();
}

/// One more is revoked; the directory has the list from before, and the one from now.
const NEWER: &str = r#"
own="-config cacnf -cert own.pem -keyfile own.key"; export OPENSSL_CONF=$PWD/cnf
openssl genrsa -out late.key 2048 2>/dev/null; openssl req -new -key late.key -subj "/O=kiln/CN=late" -out late.csr
openssl x509 -req -in late.csr -CA own.pem -CAkey own.key -CAcreateserial -out late.pem -days 30 2>/dev/null
mkdir newer; cp lists/own.crl newer/a-old.crl; sleep 1.1
openssl ca $own -revoke late.pem 2>/dev/null; openssl ca $own -gencrl -crldays 30 -out newer/b-new.crl 2>/dev/null; openssl rehash newer
"#;

#[test]
fn names_passwords_and_addresses_count_as_at_glusterfsd() {
    let mut pair = Pair::new();
    let server = pair.tls("server");
    let ann = pair.tls("ann");
    // The name.
    pair.serve(&format!("{server} option auth.login.brick.ssl-allow ann,s*\n"));
    pair.fate("ann", &ann, Fate::Mounted);
    pair.fate("self", &pair.tls("self"), Fate::Mounted);
    pair.fate("eve", &pair.tls("eve"), Fate::Ended);
    pair.fate("stranger", &pair.tls("stranger"), Fate::Trying);
    // The address, although the name is right.
    let rules = " option auth.addr.brick.allow *\n option auth.addr.brick.reject 127.0.0.*\n";
    pair.serve(&format!("{server} option auth.login.brick.ssl-allow ann\n{rules}"));
    pair.fate("address", &ann, Fate::Ended);
    // Passwords, which do not count where there are certificates.
    let login = " option auth.login.brick.allow ann\n option auth.login.ann.password secret\n";
    let wrong = " option username ann\n option password guess\n";
    let right = " option username ann\n option password secret\n";
    pair.serve(&format!("{server} option auth.addr.brick.allow *\n{login}"));
    pair.fate("wrong-but-certified", &format!("{ann}{wrong}"), Fate::Mounted);
    pair.serve(&format!("{server}{login}"));
    pair.fate("right-but-certified", &format!("{ann}{right}"), Fate::Ended);
    // And without: a client that speaks TLS finds nobody who does.
    pair.serve(&format!(" option auth.addr.brick.allow *\n{login}"));
    pair.fate("wrong", wrong, Fate::Ended);
    pair.fate("right", right, Fate::Mounted);
    pair.fate("tls", &ann, Fate::Trying);
    assert!(pair.kiln().log().contains("it speaks TLS, which is off here"), "{}", pair.kiln().log());
    pair.stop();
}

#[test]
fn a_session_in_tls_and_certificates_that_change_meanwhile() {
    let mut pair = Pair::new();
    let server = pair.tls("server");
    for suites in ["", " option transport.socket.ssl-cipher-list ECDHE-RSA-CHACHA20-POLY1305:nonsense\n"] {
        pair.serve(&format!("{server}{suites} option auth.addr.brick.allow *\n"));
        let options = Pair::options(pair.kiln().port, &pair.tls("ann"));
        let client = StockClient::of_volfile(&pair.scratch, "session", &options);
        session(client.mnt());
        let dump = pair.kiln().dump();
        assert!(dump.contains("\"certificate\": \"ann\"") && dump.contains("TLSv1_3"), "{dump}");
        assert_eq!(pair.kiln().log().contains("no suite for `nonsense`"), !suites.is_empty());
        // From now on another authority counts. Who is in stays in.
        fs::copy(pair.file("all.ca"), pair.file("old.ca")).unwrap();
        fs::copy(pair.file("other.pem"), pair.file("all.ca")).unwrap();
        signal(pair.kiln().pid(), "HUP");
        wait_for("the options to be in force", Duration::from_secs(10), || {
            pair.kiln().log().contains("are in force")
        });
        fs::write(client.mnt().join("after"), "x").unwrap();
        // The client, too, holds the server's certificate against that file: it has to have the old one.
        let stranger = pair.tls("stranger").replace("all.ca", "old.ca");
        let late = Pair::options(pair.kiln().port, &pair.tls("ann").replace("all.ca", "old.ca"));
        let other = Pair::options(pair.kiln().port, &stranger);
        let (fate, _) = StockClient::fate(&pair.scratch, "late", &late, Duration::from_secs(4));
        assert_eq!(fate, Fate::Trying);
        let (fate, log) = StockClient::fate(&pair.scratch, "other", &other, Duration::from_secs(20));
        assert_eq!(fate, Fate::Mounted, "{log}");
        // Files that cannot be read leave it as it was.
        fs::write(pair.file("all.ca"), "nothing").unwrap();
        signal(pair.kiln().pid(), "HUP");
        wait_for("the refusal", Duration::from_secs(10), || {
            pair.kiln().log().contains("no certificate in it")
        });
        let (fate, log) = StockClient::fate(&pair.scratch, "again", &other, Duration::from_secs(20));
        assert_eq!(fate, Fate::Mounted, "{log}");
        fs::copy(pair.file("old.ca"), pair.file("all.ca")).unwrap();
        drop(client);
        fs::remove_file(pair.scratch.brick().join("after")).unwrap();
    }
    pair.stop();
}

#[test]
fn missing_files_are_told_at_the_start() {
    let scratch = Scratch::new();
    let output = kiln()
        .args(["serve", "--listen", "127.0.0.1:0", "--tls", "--tls-dir"])
        .arg(scratch.join("nowhere"))
        .arg("--control-socket")
        .arg(scratch.join("x.sock"))
        .arg("--brick")
        .arg(scratch.brick())
        .output()
        .unwrap();
    let text = crate::support::text(&output);
    assert!(!output.status.success() && text.contains("ssl-own-cert") && text.contains("nowhere"), "{text}");
}

/// In a network and with files of its own, so that the ports and places that everybody uses are free.
const VOLUME: &str = r#"
ip link set lo up
for side in ssl glusterd; do mkdir -p $side; done
mount --bind ssl /usr/lib/ssl; mount --bind glusterd /var/lib/glusterd
cp certs/ann.pem ssl/glusterfs.pem; cp certs/ann.key ssl/glusterfs.key; cp certs/all.ca ssl/glusterfs.ca
mkdir server; cp certs/server.pem server/glusterfs.pem; cp certs/server.key server/glusterfs.key; cp certs/all.ca server/glusterfs.ca
wait_until() { for i in $(seq 300); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done; cat *.log >&2; return 1; }
serve() { # log, arguments
    "$KILN" serve --brick brick --name vol --tls --tls-dir server --tls-allow 'ann,bob' --control-socket sock "${@:2}" > $1.log 2>&1 &
    pid=$!; wait_until grep -q 'serving after' $1.log
}
client() { glusterfs -N -l "$PWD/$1.log" --volfile-server=127.0.0.1 --volfile-id=vol mnt & client=$!; }
fails() { if "$@"; then echo "$* does not fail" >&2; exit 1; fi; }
mounted() { mountpoint -q mnt && timeout 2 ls mnt; }
leave() { umount mnt; wait $client || true; kill $pid; wait $pid; }

# Everything on one port: volfiles are encrypted as well, and the client has to be told so.
serve one --listen 127.0.0.1:24007
client plain; wait $client || true; fails mounted
touch glusterd/secure-access
client secure; wait_until mounted; echo hello > mnt/file; sync -f mnt; dd if=/dev/urandom of=mnt/big bs=1M count=8 status=none
md5sum < mnt/big > sum; "$KILN" dump --json --socket sock | grep -q '"certificate": "ann"'; leave
grep -q 'does not speak TLS' one.log
# Another port for the data: volfiles are plain, as with any management daemon.
rm glusterd/secure-access
serve two --listen 127.0.0.1:24007 --listen 127.0.0.1:49152
client plain2; wait_until mounted; test "$(cat mnt/file)" = hello; md5sum < mnt/big | cmp - sum
"$KILN" dump --json --socket sock | grep -q '"certificate": "ann"'
# Certificates are read again.
cp certs/other.pem server/glusterfs.ca; kill -HUP $pid; wait_until grep -q 'certificates were read again' two.log
echo again > mnt/file; leave
# A client that is not told to encrypt is sent from the plain port to the other, where it does not come in.
serve three --listen 127.0.0.1:24007 --listen 127.0.0.1:49152
printf 'volume c\n type protocol/client\n option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port 24007\n option remote-subvolume %s/brick\nend-volume\n' "$PWD" > c.vol
glusterfs -N -l "$PWD/direct.log" -f c.vol mnt & client=$!
wait_until grep -q 'does not speak TLS' three.log; sleep 4; fails timeout 5 touch mnt/x; umount -l mnt; kill $client 2> /dev/null || true; wait $client || true
kill $pid; wait $pid
"#;

#[test]
fn a_volume_by_its_name() {
    let pair = Pair::new();
    run(Command::new("unshare")
        .args(["--mount", "--net", "timeout", "200", "bash", "-euo", "pipefail", "-c", VOLUME])
        .env("KILN", kiln().get_program())
        .current_dir(pair.scratch.path()));
}
