"""Who is let in and how: credentials that never show or travel unencrypted, certificates, proxies."""

import ssl
import subprocess
import traceback

import pytest

from medtrans.errors import InputError
from medtrans.scans.dicomweb import Access, search_series
from medtrans.scans.dicomweb.connection import PASSWORD, connect

SECRET = "open sesame"
FAR = "https://pacs.example/dicom-web"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("ey.Jh-bG_c=\n")
    return path


def sent(pacs):
    """The headers that arrived."""
    return pacs.requests[-1][2]


def test_name_and_password_travel_as_rfc_7617_has_it(pacs, monkeypatch):
    monkeypatch.setenv(PASSWORD, SECRET)
    search_series(pacs.url, access=Access(user="Aladdin"))
    assert sent(pacs)["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # the RFC's example


def test_a_token_travels_as_it_lies_in_its_file(pacs, token_file):
    search_series(pacs.url, access=Access(token_file=token_file))
    assert sent(pacs)["Authorization"] == "Bearer ey.Jh-bG_c="


def test_without_credentials_none_are_sent_whatever_netrc_says(pacs, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login a password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    search_series(pacs.url)
    assert "Authorization" not in sent(pacs)


def test_the_host_is_named_with_its_port(pacs):
    search_series(pacs.url)
    assert sent(pacs)["Host"] == pacs.url.split("/")[2]


@pytest.mark.parametrize("url", ["http://pacs.example/dicom-web", "http://192.0.2.7:8042", "http://127.0.0.1.example/"])
@pytest.mark.parametrize("kind", ["user", "token"])
def test_credentials_never_go_unencrypted_to_another_machine(url, kind, monkeypatch, token_file):
    monkeypatch.setenv(PASSWORD, SECRET)
    access = Access(user="me") if kind == "user" else Access(token_file=token_file)
    with pytest.raises(InputError, match="Use https"):
        connect(url, access)
    connect(url.replace("http:", "https:"), access)


@pytest.mark.parametrize("url", ["http://localhost:8042/x", "http://127.0.0.2/x", "HTTP://[::1]:8042/x"])
def test_they_may_on_this_machine(url, token_file):
    assert connect(url, Access(token_file=token_file)).base_url == url.replace("HTTP", "http")


def test_plain_http_without_credentials_is_told(caplog):
    connect("http://pacs.example/dicom-web")
    assert "unencrypted" in caplog.text
    caplog.clear()
    connect(FAR)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("url", "access", "message"),
    [
        (f"https://me:{SECRET}@pacs.example/x", Access(), "holds a user name or password"),
        (f"https://pacs.example/x?token={SECRET}", Access(), "holds more than an address"),
        (f"https://pacs.example/x#{SECRET}", Access(), "holds more than an address"),
        ("pacs.example/dicom-web", Access(), "is no address"),
        ("ftp://pacs.example/x", Access(), "is no address"),
        ("https:///x", Access(), "is no address"),
        ("https://pacs.example:99999/x", Access(), "is no address"),
        ("https://[::1/x", Access(), "is no address"),
        (FAR, Access(user=f"me:{SECRET}"), "holds a colon"),
        (FAR, Access(user="me"), f"environment variable {PASSWORD}"),
    ],
)
def test_addresses_and_names_are_checked_and_secrets_not_repeated(url, access, message, monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(InputError, match=message) as caught:
        connect(url, access)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("content", ["", "\n", "open sesame", "a\nb", "schlüssel"])
def test_a_file_without_a_token_is_refused_and_not_shown(content, token_file):
    token_file.write_text(content)
    with pytest.raises(InputError, match="holds no bearer token") as caught:
        connect(FAR, Access(token_file=token_file))
    assert not content.strip() or content.strip() not in str(caught.value)


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(InputError, match=r"absent.*cannot be read"):
        connect(FAR, Access(token_file=tmp_path / "absent"))
    with pytest.raises(InputError, match=r"absent.*holds no certificates"):
        connect(FAR, Access(ca=tmp_path / "absent"))
    (tmp_path / "empty").write_text("no certificate")
    with pytest.raises(InputError, match=r"empty.*holds no certificates"):
        connect(FAR, Access(ca=tmp_path / "empty"))


def test_two_kinds_of_credentials_are_one_too_many(token_file, monkeypatch):
    monkeypatch.setenv(PASSWORD, SECRET)
    with pytest.raises(InputError, match="Give one of them"):
        connect(FAR, Access("me", token_file))


def test_proxies_of_the_environment_serve_other_machines_only(pacs, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert search_series(pacs.url) == []
    with pytest.raises(InputError, match="cannot be reached"):
        search_series(FAR)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Files of two certificates for this machine, each signed by itself: (certificate, key)."""
    folder, made = tmp_path_factory.mktemp("certificates"), []
    for name in ("ours", "other"):
        pair = folder / f"{name}.pem", folder / f"{name}.key"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-keyout", pair[1], "-out", pair[0], "-days", "2", "-subj", "/CN=localhost"]
        try:
            subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("openssl is not here to make a certificate")
        made.append(pair)
    return made


def test_a_private_authority_is_trusted_only_when_named(pacs, certificates, monkeypatch):
    (own, key), (other, _) = certificates
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    pacs.server.socket = context.wrap_socket(pacs.server.socket, server_side=True)
    url = pacs.url.replace("http:", "https:")
    for access in (Access(), Access(ca=other)):
        with pytest.raises(InputError, match=r"certificate that is not trusted.*--ca"):
            search_series(url, access=access)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))  # must not replace what was named
    assert search_series(url, access=Access(ca=own)) == []


def test_plain_http_is_not_https(pacs):
    with pytest.raises(InputError, match="does not speak https"):
        search_series(pacs.url.replace("http:", "https:"))
