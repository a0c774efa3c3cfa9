# docker build --tag electra-convert .
# docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/io" electra-convert --model discriminator CKPT OUT

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --locked --profile dist --features cloud --bin electra-convert

# glibc, libgcc and certificate authorities, and no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/dist/electra-convert /usr/local/bin/electra-convert
USER 65532:65532
WORKDIR /io
ENTRYPOINT ["/usr/local/bin/electra-convert"]
