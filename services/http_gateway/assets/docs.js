// The page of the API. It asks with the key that this tab's page at / was given, where the gateway asks for one.

import { key } from "./api.js";

function withKey(request) {
  if (key()) request.headers.Authorization = `Bearer ${key()}`;
  return request;
}

window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", deepLinking: true, requestInterceptor: withKey });
