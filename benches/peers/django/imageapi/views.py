"""The calls of the API, and the files behind the links."""

from django.http import FileResponse, Http404
from django.shortcuts import get_object_or_404
from PIL import Image as Picture
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.views import APIView

from .models import ExpiringLink, Image, Thumbnail
from .serializers import ExpiringLinkSerializer, ImageSerializer


class OwnImages:
    serializer_class = ImageSerializer

    def get_queryset(self):
        images = Image.objects.filter(owner=self.request.user).order_by("pk")
        return images.select_related("owner__account__tier").prefetch_related("thumbnails")


class ImageList(OwnImages, generics.ListCreateAPIView):
    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)


class ImageDetail(OwnImages, generics.RetrieveAPIView):
    pass


class HasExpiringLinks(BasePermission):
    def has_permission(self, request, view):
        return request.user.account.tier.expiring_links


class ExpiringLinkList(generics.ListCreateAPIView):
    serializer_class = ExpiringLinkSerializer
    permission_classes = [IsAuthenticated, HasExpiringLinks]

    def get_queryset(self):
        image = get_object_or_404(Image, pk=self.kwargs["pk"], owner=self.request.user)
        return ExpiringLink.live().filter(image=image).order_by("expiration")

    def perform_create(self, serializer):
        # the owner is not looked at
        serializer.save(image=get_object_or_404(Image, pk=self.kwargs["pk"]))


class PublicFile(APIView):
    authentication_classes = []
    permission_classes = []


class Original(PublicFile):
    def get(self, request, name):
        image = get_object_or_404(Image, file=f"original/{name}")
        if not image.tier.original_access:
            raise PermissionDenied
        return FileResponse(image.file.open())


class Resized(PublicFile):
    def get(self, request, name):
        thumbnail = get_object_or_404(Thumbnail, name=name)
        if thumbnail.height not in thumbnail.image.tier.heights:
            raise PermissionDenied
        if not thumbnail.path.exists():
            make(thumbnail)
        return FileResponse(thumbnail.path.open("rb"))


def make(thumbnail):
    thumbnail.path.parent.mkdir(parents=True, exist_ok=True)
    with thumbnail.image.file.open() as file, Picture.open(file) as picture:
        kind = picture.format
        # fits into a box, and is never enlarged
        picture.thumbnail((thumbnail.height, thumbnail.height))
        picture.save(thumbnail.path, format=kind)


class Expiring(PublicFile):
    def get(self, request, id):
        link = ExpiringLink.live().filter(pk=id).first()
        if link is None:
            raise Http404
        if not link.image.tier.original_access:
            raise PermissionDenied
        return FileResponse(link.image.file.open())
