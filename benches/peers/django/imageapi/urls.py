"""The URLs of the API and of the files."""

from django.contrib import admin
from django.urls import include, path, re_path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api-auth/", include("rest_framework.urls")),
    re_path(r"^api/images/?$", views.ImageList.as_view(), name="images"),
    re_path(r"^api/images/(?P<pk>\d+)/?$", views.ImageDetail.as_view(), name="image"),
    re_path(
        r"^api/images/(?P<pk>\d+)/expiring_links/?$",
        views.ExpiringLinkList.as_view(),
        name="expiring-links",
    ),
    path("user_content/original/<str:name>", views.Original.as_view(), name="original"),
    path("user_content/resized/<str:name>", views.Resized.as_view(), name="resized"),
    path("user_content/expiring/<uuid:id>/", views.Expiring.as_view(), name="expiring"),
]
