//! Uploads in parts, which are aborted unless they are finished: a store keeps the parts, and
//! charges for them, until it is told.

use object_store::{MultipartUpload, WriteMultipart};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    runtime::Handle,
};

use super::StorageError;

/// Copies all that the reader has in parts of this many bytes, two of them in memory at a time.
pub(super) async fn copy(
    reader: &mut (impl AsyncRead + Unpin),
    upload: Box<dyn MultipartUpload>,
    part_bytes: usize,
) -> Result<(), StorageError> {
    let mut unfinished = Unfinished(Some(WriteMultipart::new_with_chunk_size(upload, part_bytes)));
    let mut buffer = vec![0; part_bytes];
    while let Some(writer) = &mut unfinished.0 {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        writer.write(&buffer[..read]);
        writer.wait_for_capacity(1).await?;
    }
    if let Some(writer) = unfinished.0.take() {
        writer.finish().await?;
    }
    Ok(())
}

/// Aborts the upload when it is dropped: after an error, or when its future is dropped.
struct Unfinished(Option<WriteMultipart>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(writer), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(%error, "A multipart upload that failed could not be aborted.");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use async_trait::async_trait;
    use futures::FutureExt;
    use object_store::{PutPayload, PutResult, UploadPart};
    use tokio::{
        sync::Notify,
        time::{sleep, timeout},
    };

    use super::*;

    /// An upload whose second part fails or never ends.
    #[derive(Debug)]
    struct Upload {
        parts: usize,
        second_part_ends: bool,
        aborted: Arc<Notify>,
    }

    #[async_trait]
    impl MultipartUpload for Upload {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            self.parts += 1;
            match (self.parts, self.second_part_ends) {
                (1, _) => async { Ok(()) }.boxed(),
                (_, true) => async {
                    Err(object_store::Error::NotImplemented {
                        operation: "put_part".to_owned(),
                        implementer: "a test".to_owned(),
                    })
                }
                .boxed(),
                (_, false) => futures::future::pending().boxed(),
            }
        }

        async fn complete(&mut self) -> object_store::Result<PutResult> {
            unreachable!("the second part never arrives")
        }

        async fn abort(&mut self) -> object_store::Result<()> {
            self.aborted.notify_one();
            Ok(())
        }
    }

    fn upload(second_part_ends: bool) -> (Box<Upload>, Arc<Notify>) {
        let aborted = Arc::new(Notify::new());
        (Box::new(Upload { parts: 0, second_part_ends, aborted: aborted.clone() }), aborted)
    }

    async fn expect_abort(aborted: &Notify) {
        timeout(Duration::from_secs(10), aborted.notified()).await.expect("the upload is aborted");
    }

    #[tokio::test]
    async fn an_upload_with_a_part_that_fails_is_aborted() {
        let (upload, aborted) = upload(true);
        assert!(copy(&mut &[0; 1000][..], upload, 100).await.is_err());
        expect_abort(&aborted).await;
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_is_aborted() {
        let (upload, aborted) = upload(false);
        let copying = tokio::spawn(async move { copy(&mut &[0; 1000][..], upload, 100).await });
        sleep(Duration::from_millis(20)).await;
        copying.abort();
        expect_abort(&aborted).await;
    }

    #[tokio::test]
    async fn an_upload_that_cannot_be_read_is_aborted() {
        let (upload, aborted) = upload(false);
        let mut broken = broken_reader();
        assert!(copy(&mut broken, upload, 100).await.is_err());
        expect_abort(&aborted).await;
    }

    /// Gives one part and then an error.
    fn broken_reader() -> impl AsyncRead + Unpin {
        let pieces =
            [Ok(bytes::Bytes::from_static(&[0; 100])), Err(io::Error::other("the disk is broken"))];
        tokio_util::io::StreamReader::new(futures::stream::iter(pieces))
    }
}
