// Every image: `make images PUSH=registry.example.com/ai`, or `docker buildx bake -f deploy/docker-bake.hcl`, from the repository's root.
// Groups: default (one image for all components), gpu, vllm, roles (one image for each component).

variable "REGISTRY" { default = "tandem.local" }
variable "REPOSITORY" { default = "tandem" }
variable "TAG" { default = "local" }
variable "COMMIT" { default = "" } // of the code; empty where it was changed since
variable "PLATFORMS" { default = "" } // "linux/amd64,linux/arm64"; this machine's if empty
variable "PYTHON_IMAGE" { default = "" } // a base of your own, such as a copy in your registry with your proxy's certificate; the Dockerfile's if empty

function "names" {
  params = [suffix, end]
  result = ["${REGISTRY}/${REPOSITORY}${suffix}:${TAG}${end}"]
}

function "platforms" {
  params = []
  result = PLATFORMS == "" ? [] : split(",", PLATFORMS)
}

group "default" { targets = ["all"] }
group "gpu" { targets = ["all", "all-cuda", "vllm"] }
group "roles" { targets = ["control", "models"] }
group "roles-gpu" { targets = ["control", "models", "models-cuda", "vllm-roles"] }

target "base" {
  context    = "."
  dockerfile = "deploy/Dockerfile"
  args       = { PYTHON_IMAGE = PYTHON_IMAGE == "" ? null : PYTHON_IMAGE, COMMIT = COMMIT }
  labels = {
    "org.opencontainers.image.title"    = "Tandem"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.version"  = TAG
  }
}

target "published" { // a bill of materials and where it was built, kept beside an image that is pushed
  inherits = ["base"]
  attest   = REGISTRY == "tandem.local" ? [] : ["type=sbom", "type=provenance,mode=max"]
}

target "all" {
  inherits  = ["published"]
  target    = "all"
  platforms = platforms()
  tags      = names("", "")
}

target "all-llamacpp" { // no torch: where llama.cpp runs every model
  inherits  = ["published"]
  target    = "all"
  args      = { VARIANT = "llamacpp" }
  platforms = platforms()
  tags      = names("", "")
}

target "all-cuda" {
  inherits  = ["published"]
  target    = "all"
  args      = { VARIANT = "cuda" }
  platforms = platforms()
  tags      = names("", "-cuda")
}

target "vllm" {
  inherits  = ["published"]
  target    = "vllm"
  platforms = platforms()
  tags      = names("", "-vllm")
}

target "control" {
  inherits  = ["published"]
  name      = role
  matrix    = { role = ["gateway", "http-gateway", "worker", "answer-checker"] }
  target    = role
  platforms = platforms()
  tags      = names("-${role}", "")
}

target "models" {
  inherits  = ["published"]
  name      = role
  matrix    = { role = ["insight-generator", "sufficiency-scorer", "slm-executor"] }
  target    = role
  platforms = platforms()
  tags      = names("-${role}", "")
}

target "models-cuda" {
  inherits  = ["published"]
  name      = "${role}-cuda"
  matrix    = { role = ["insight-generator", "sufficiency-scorer", "slm-executor"] }
  target    = role
  args      = { VARIANT = "cuda" }
  platforms = platforms()
  tags      = names("-${role}", "-cuda")
}

target "vllm-roles" {
  inherits  = ["published"]
  name      = "${role}-vllm"
  matrix    = { role = ["insight-generator", "slm-executor"] }
  target    = "vllm"
  platforms = platforms()
  tags      = names("-${role}", "-vllm")
}

target "kind" { // loaded into a cluster on this machine
  inherits = ["base"]
  target   = "all"
  args     = { VARIANT = "llamacpp" }
  tags     = ["tandem.local/tandem:${TAG}"]
  output   = ["type=docker"]
}
