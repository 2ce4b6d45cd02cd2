"""Drives the stand-in for Dropbox with Dropbox's own Python SDK: dropbox_sdk.py http://127.0.0.1:PORT

The SDK checks every answer against the published types, so an answer it takes is one that Dropbox
could have given. Every route the store uses is called at least once, refusals included; the counts
printed at the end are those of the stand-in.
"""

import hashlib
import json
import sys
import time
import urllib.request

import dropbox
from dropbox import exceptions, files

BASE = sys.argv[1]


class Stood(dropbox.Dropbox):
    """The SDK's client, with another address and plain HTTP; nothing else is changed."""

    def _get_route_url(self, hostname, route_name):
        return super()._get_route_url(hostname, route_name).replace("https://" + hostname, BASE)

    def refresh_access_token(self, host=None, scope=None):
        post = self._session.post

        def redirected(url, **rest):
            return post(url.replace("https://api.dropboxapi.com", BASE), **rest)

        self._session.post = redirected
        try:
            super().refresh_access_token(scope=scope)
        finally:
            self._session.post = post


def client(token="stand-in-refresh-token", secret="stand-in-app-secret", **rest):
    return Stood(oauth2_refresh_token=token, app_key="stand-in-app-key", app_secret=secret, **rest)


def control(switches=None):
    data = None if switches is None else json.dumps(switches).encode()
    with urllib.request.urlopen(urllib.request.Request(BASE + "/control", data=data)) as answer:
        return json.load(answer)


calls = {}


def ordered(fault, route="*", **more):
    """Sets the switches; remembers the requests so far, which setting them forgets."""
    for request in control()["requests"]:
        calls.setdefault(request["route"], []).append(request["status"])
    control({"next": [[route, fault]] if fault else [], **more})


def content_hash(content):
    blocks = [content[at : at + (4 << 20)] for at in range(0, len(content), 4 << 20)]
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()


def refused(verb, *arguments, **named):
    try:
        verb(*arguments, **named)
    except exceptions.ApiError as error:
        return error.error
    raise AssertionError(f"{verb.__name__}{arguments} was not refused")


def commit(path, mode=files.WriteMode.add, strict=True):
    return files.CommitInfo(path=path, mode=mode, strict_conflict=strict)


def finish_arg(session, size, info):
    return files.UploadSessionFinishArg(files.UploadSessionCursor(session.session_id, size), info)


box = client(max_retries_on_rate_limit=3, max_retries_on_error=3)

# Upload: a new file, every mode, every conflict.
first = box.files_upload(b"one", "/sdk/a.txt")
assert (first.name, first.path_display, first.size) == ("a.txt", "/sdk/a.txt", 3), first
assert first.content_hash == content_hash(b"one")
assert abs(first.server_modified.timestamp() - time.mktime(time.gmtime())) < 120, first.server_modified
same = box.files_upload(b"one", "/sdk/a.txt")
assert same.rev == first.rev, "the same bytes are not written again"
error = refused(box.files_upload, b"one", "/sdk/a.txt", strict_conflict=True)
assert error.is_path() and error.get_path().reason.is_conflict(), error
assert error.get_path().reason.get_conflict().is_file(), error
error = refused(box.files_upload, b"two", "/SDK/A.TXT")
assert error.get_path().reason.get_conflict().is_file(), "paths are the same in every case"
other = box.files_upload(b"two", "/sdk/a.txt", autorename=True)
assert other.path_display == "/sdk/a (1).txt", other
second = box.files_upload(b"two", "/sdk/a.txt", mode=files.WriteMode.update(first.rev), strict_conflict=True)
assert second.rev != first.rev and second.id == first.id
error = refused(box.files_upload, b"x", "/sdk/a.txt", mode=files.WriteMode.update(first.rev))
assert error.get_path().reason.get_conflict().is_file(), error
third = box.files_upload(b"three", "/sdk/a.txt", mode=files.WriteMode.overwrite)
assert third.rev != second.rev
error = refused(box.files_upload, b"x", "/sdk")
assert error.get_path().reason.get_conflict().is_folder(), error
error = refused(box.files_upload, b"x", "/sdk/a.txt/b")
assert error.get_path().reason.get_conflict().is_file_ancestor(), error
error = refused(box.files_upload, b"x", "/sdk/c", content_hash=content_hash(b"y"))
assert error.is_content_hash_mismatch(), error

# Download and metadata.
metadata, answer = box.files_download("/SDK/a.TXT")
assert answer.content == b"three" and metadata.rev == third.rev and metadata.path_display == "/sdk/a.txt"
assert refused(box.files_download, "/sdk/none").get_path().is_not_found()
assert refused(box.files_download, "/sdk").get_path().is_not_file()
assert isinstance(box.files_get_metadata("/sdk"), files.FolderMetadata)
assert box.files_get_metadata("/sdk/a.txt").rev == third.rev
assert refused(box.files_get_metadata, "/none").get_path().is_not_found()

# Sessions: in pieces, closed, and all together.
start = box.files_upload_session_start(b"abc")
cursor = files.UploadSessionCursor(start.session_id, 1)
error = refused(box.files_upload_session_append_v2, b"x", cursor)
assert error.is_incorrect_offset() and error.get_incorrect_offset().correct_offset == 3, error
cursor.offset = 3
box.files_upload_session_append_v2(b"def", cursor)
cursor.offset = 6
error = refused(box.files_upload_session_finish, b"", cursor, commit("/sdk/a.txt"))
assert error.is_path() and error.get_path().get_conflict().is_file(), error
done = box.files_upload_session_finish(b"ghi", cursor, commit("/sdk/pieces"))
assert done.content_hash == content_hash(b"abcdefghi")
error = refused(box.files_upload_session_finish, b"", cursor, commit("/sdk/pieces"))
assert error.is_lookup_failed() and error.get_lookup_failed().is_not_found(), error

fresh, taken, stale, open_one = (
    box.files_upload_session_start(content, close=closed)
    for content, closed in [(b"fresh", True), (b"taken", True), (b"stale", True), (b"open", False)]
)
error = refused(box.files_upload_session_append_v2, b"x", files.UploadSessionCursor(fresh.session_id, 5))
assert error.is_closed(), error
lines = box.files_upload_session_finish_batch_v2(
    [
        finish_arg(fresh, 5, commit("/sdk/fresh")),
        finish_arg(taken, 5, commit("/sdk/a.txt")),
        finish_arg(stale, 5, commit("/sdk/a.txt", files.WriteMode.update(first.rev))),
        finish_arg(open_one, 4, commit("/sdk/open")),
    ]
).entries
assert lines[0].is_success() and lines[0].get_success().path_display == "/sdk/fresh", lines
for line in lines[1:3]:
    assert line.is_failure() and line.get_failure().get_path().get_conflict().is_file(), line
assert lines[3].get_failure().get_lookup_failed().is_not_closed(), lines
ordered(None, crowded_entry_every=1)
line = box.files_upload_session_finish_batch_v2([finish_arg(taken, 5, commit("/sdk/taken"))]).entries[0]
assert line.get_failure().is_too_many_write_operations(), line
ordered(None)
many = box.files_upload_session_start_batch(3).session_ids
for at, session in enumerate(many):
    box.files_upload_session_append_v2(bytes([at]), files.UploadSessionCursor(session, 0), close=True)
lines = box.files_upload_session_finish_batch_v2(
    [
        files.UploadSessionFinishArg(files.UploadSessionCursor(session, 1), commit(f"/sdk/Deep/{at}"))
        for at, session in enumerate(many)
    ]
).entries
assert all(line.is_success() for line in lines), lines

# Listing: pages, changes, a reset.
page = box.files_list_folder("/sdk", recursive=True, limit=3)
entries = list(page.entries)
while page.has_more:
    page = box.files_list_folder_continue(page.cursor)
    entries += page.entries
shown = {entry.path_display for entry in entries}
expected = {"", "/a.txt", "/a (1).txt", "/pieces", "/fresh", "/Deep", "/Deep/0", "/Deep/1", "/Deep/2"}
assert shown == {"/sdk" + name for name in expected}, shown
assert all(e.content_hash for e in entries if isinstance(e, files.FileMetadata))
assert {entry.path_display for entry in box.files_list_folder("/sdk/deep").entries} == {
    f"/sdk/Deep/{at}" for at in range(3)
}
box.files_upload(b"later", "/sdk/later")
gone = box.files_delete_v2("/sdk/deep")
assert isinstance(gone.metadata, files.FolderMetadata)
page = box.files_list_folder_continue(page.cursor)
kinds = {entry.path_display: type(entry) for entry in page.entries}
assert kinds["/sdk/later"] is files.FileMetadata and kinds["/sdk/Deep"] is files.DeletedMetadata, kinds
assert box.files_list_folder_continue(page.cursor).entries == []
ordered(None, reset_cursors=True)
assert refused(box.files_list_folder_continue, page.cursor).is_reset()
assert refused(box.files_list_folder, "/none").get_path().is_not_found()
assert refused(box.files_list_folder, "/sdk/later").get_path().is_not_folder()
assert box.files_list_folder("").entries[0].path_display == "/sdk"

# Removal.
error = refused(box.files_delete_v2, "/sdk/later", parent_rev=first.rev)
assert error.is_path_write() and error.get_path_write().is_conflict(), error
box.files_delete_v2("/sdk/later")
assert refused(box.files_delete_v2, "/sdk/later").get_path_lookup().is_not_found()

# Faults: each is what the SDK takes it for.
ordered({"too_many_requests": {"retry_after_s": 1}}, "files/upload")
begun = time.monotonic()
box.files_upload(b"patient", "/sdk/patient")
assert time.monotonic() - begun >= 1, "the SDK waits as it is told"
ordered({"too_many_writes": {"retry_after_s": 7}}, "files/upload")
try:
    client(max_retries_on_rate_limit=0).files_upload(b"x", "/sdk/x")
    raise AssertionError("a 429 was not seen")
except exceptions.RateLimitError as error:
    assert error.error.reason.is_too_many_write_operations() and error.backoff == 7, error
ordered({"status": 500}, "files/get_metadata")
assert box.files_get_metadata("/sdk/patient").size == 7
ordered("end_token", "files/get_metadata")
assert box.files_get_metadata("/sdk/patient").size == 7, "the SDK takes a new token in mid-run"
ordered(None, quota_bytes=1)
assert refused(box.files_upload, b"xx", "/sdk/full").get_path().reason.is_insufficient_space()
ordered(None)
for wrong in [client(token="wrong"), Stood(oauth2_access_token="wrong")]:
    try:
        wrong.files_get_metadata("/sdk/patient")
        raise AssertionError("a wrong token was let in")
    except exceptions.AuthError as error:
        assert error.error.is_invalid_access_token(), error
try:
    box.files_list_folder("/sdk/")
    raise AssertionError("a path that ends with a slash was taken")
except exceptions.BadInputError:
    pass

kept = box.files_upload(b"written by the SDK", "/sdk/kept.bin")
print("kept.bin has rev", kept.rev)
ordered(None)
print("dropbox", dropbox.__version__, "agrees on", len(calls), "routes:")
for route, statuses in sorted(calls.items()):
    print(f"  {route}: {len(statuses)} requests, statuses {sorted(set(statuses))}")
needed = """oauth2/token files/upload files/download files/get_metadata files/delete_v2 files/list_folder
files/list_folder/continue files/upload_session/start files/upload_session/append_v2
files/upload_session/finish files/upload_session/start_batch files/upload_session/finish_batch_v2"""
missing = set(needed.split()) - set(calls)
assert not missing, missing
