//! What is wrong with files is told.

use super::super::load;
use super::{Made, Setup, plain};

#[test]
fn files_are_read_and_what_is_wrong_is_told() {
    let setup = Setup::new();
    assert!(load(&setup.options(&[])).unwrap().is_some());
    assert!(load(&setup.options(&[("transport.socket.ssl-enabled", "off")])).unwrap().is_none());
    let refused = |more: &[(&str, &str)], parts: &[&str]| {
        let error = load(&setup.options(more)).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    };
    setup.write("nothing", "no certificate\n");
    setup.write("other.key", &Made::self_signed(plain("other")).key.serialize_pem());
    setup.write(
        "secret.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    setup.write("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let path = |name| setup.path(name).to_str().unwrap().to_owned();
    let (missing, nothing, garbled) = (path("missing"), path("nothing"), path("garbled.pem"));
    for option in ["ssl-own-cert", "ssl-private-key", "ssl-ca-list", "ssl-crl-path"] {
        let key = format!("transport.socket.{option}");
        refused(&[(&key, &missing)], &[option, &missing]);
        refused(&[(&key, &nothing)], &[option, &nothing]);
    }
    refused(
        &[("transport.socket.ssl-private-key", &path("other.key"))],
        &["own.pem", "other.key", "belong together"],
    );
    refused(&[("transport.socket.ssl-private-key", &path("secret.key"))], &["passphrase"]);
    refused(&[("transport.socket.ssl-own-cert", &garbled)], &["garbled.pem", "does not decode"]);
    refused(&[("transport.socket.ssl-ca-list", &garbled)], &["garbled.pem", "does not decode"]);
    refused(&[("transport.socket.ssl-crl-path", setup.directory.path().to_str().unwrap())], &["no list"]);
}

#[test]
fn suites_and_curves_are_those_that_were_asked_for() {
    let setup = Setup::new();
    let config = |more: &[(&str, &str)]| load(&setup.options(more)).unwrap().unwrap();
    let all = config(&[]);
    assert_eq!(all.crypto_provider().cipher_suites.len(), 9);
    assert!(all.crypto_provider().kx_groups.len() > 1);
    let few = config(&[
        ("transport.socket.ssl-cipher-list", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("transport.socket.ssl-ec-curve", "secp384r1"),
    ]);
    assert_eq!(few.crypto_provider().cipher_suites.len(), 4);
    assert_eq!(few.crypto_provider().kx_groups.len(), 1);
    assert_eq!(
        config(&[("transport.socket.ssl-ec-curve", "brainpool")]).crypto_provider().kx_groups.len(),
        all.crypto_provider().kx_groups.len()
    );
}
